"""Open files wherever they are: local ones by Python, all others by fsspec."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from okulo_core.errors import DataError
from okulo_core.io.paths import is_url, resolve

__all__ = [
    "atomic_write",
    "dict_from_file",
    "filesystem",
    "list_from_file",
    "open_file",
    "read_bytes",
]


def filesystem(path: str | os.PathLike[str], **options: Any) -> tuple[Any, str]:
    """The fsspec file system of a path or URL, and the path within it.

    Listing, copying, moving, existence: everything that fsspec offers, by the names it has there.

    Args:
        path: Local path or URL.
        **options: For the file system, as fsspec takes them.

    Raises:
        ValueError: fsspec knows no such protocol.
        ImportError: The protocol's package is not installed; the message names it.
    """
    # fsspec takes longer to import than most commands of ours take to run.
    import fsspec
    from fsspec.core import url_to_fs

    url = resolve(path)
    try:
        return url_to_fs(url, **options)
    except ImportError as error:
        package = _package(url.partition(":")[0])
        raise ImportError(f"{url} needs the package {package}: pip install '{package}'") from error
    except ValueError as error:
        known = ", ".join(fsspec.available_protocols())
        raise ValueError(f"cannot open {url}: {error}; known protocols: {known}") from error


def _package(protocol: str) -> str:
    """The package that serves a protocol, by the module fsspec would have imported."""
    from fsspec.registry import known_implementations

    package = known_implementations.get(protocol, {}).get("class", protocol).partition(".")[0]
    return f"fsspec[{protocol}]" if package == "fsspec" else package


def open_file(path: str | os.PathLike[str], mode: str = "r") -> IO[Any]:
    """Open a local path or any URL that fsspec knows; text is UTF-8."""
    encoding = None if "b" in mode else "utf-8"
    if is_url(resolve(path)):
        system, inner = filesystem(path)
        return system.open(inner, mode, **({"encoding": encoding} if encoding else {}))
    return open(resolve(path), mode, encoding=encoding)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The whole content of a local path or URL."""
    with open_file(path, "rb") as file:
        return file.read()


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Write a local file completely or not at all.

    The content goes to a temporary file in the same folder, reaches the disk, and then takes the
    place of ``path`` in one step. If anything fails on the way (an exception in the block, a
    full disk), the old file stays as it was and the temporary one is removed.

    Args:
        path: Local path; missing folders are made. A link is followed, not replaced.
        mode: ``"w"`` for UTF-8 text, ``"wb"`` for bytes.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"atomic_write takes mode 'w' or 'wb', got {mode!r}")
    target = Path(os.path.realpath(resolve(path)))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex}.tmp")
    try:
        # Opened the ordinary way, and not by tempfile, to get the permissions new files get here.
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; Windows cannot open folders, and needs no such thing."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def list_from_file(
    path: str | os.PathLike[str], *, prefix: str = "", offset: int = 0, max_num: int = 0
) -> list[str]:
    """Lines of a UTF-8 file without their line ends; blanks and empty lines are kept.

    Args:
        path: Local path or URL.
        prefix: Put in front of each line.
        offset: Lines to skip first.
        max_num: Lines to return at most; 0 for all.
    """
    with open_file(path) as file:
        lines = [prefix + line.rstrip("\r\n") for line in file][offset:]
    return lines[:max_num] if max_num > 0 else lines


def dict_from_file(
    path: str | os.PathLike[str], *, key_type: Callable[[str], Any] = str
) -> dict[Any, str | list[str]]:
    """Columns of a UTF-8 file, split at white space, by the first one; later lines win.

    Args:
        path: Local path or URL.
        key_type: Makes the key of the first column.

    Returns:
        The second column, or the list of the others where there are more than two.

    Raises:
        DataError: A line has fewer than two columns.
    """
    found: dict[Any, str | list[str]] = {}
    for number, line in enumerate(list_from_file(path), start=1):
        key, *values = line.split() or [""]
        if not values:
            raise DataError(f"{path}, line {number}: expected two columns or more, got {line!r}")
        found[key_type(key)] = values[0] if len(values) == 1 else values
    return found
