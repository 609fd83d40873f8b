"""Files: local, remote, cached, written whole or not at all. Importing this imports no torch."""

from okulo_core.io.download import cache_dir, local_path
from okulo_core.io.files import (
    atomic_write,
    dict_from_file,
    filesystem,
    list_from_file,
    open_file,
    read_bytes,
)
from okulo_core.io.formats import dump, load
from okulo_core.io.paths import is_url, resolve

__all__ = [
    "atomic_write",
    "cache_dir",
    "dict_from_file",
    "dump",
    "filesystem",
    "is_url",
    "list_from_file",
    "load",
    "local_path",
    "open_file",
    "read_bytes",
    "resolve",
]
