"""Remote files as local ones: fetched once, checked, resumed where a download broke off."""

import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from okulo_core.errors import DataError, MissingFileError
from okulo_core.io.files import filesystem
from okulo_core.io.paths import is_url, resolve

__all__ = ["cache_dir", "local_path"]

_log = logging.getLogger(__name__)


def cache_dir(path: str | os.PathLike[str] | None = None) -> Path:
    """The folder of fetched files: ``path``, else ``OKULO_CACHE``, else ``~/.cache/okulo``.

    It is made if need be. If it cannot be written to, a warning says so and a folder among the
    system's temporary files takes its place.
    """
    folder = Path(path or os.environ.get("OKULO_CACHE") or "~/.cache/okulo").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
        reason = "permission denied"
    except OSError as error:
        reason = str(error)
    fallback = Path(tempfile.gettempdir()) / "okulo_cache"
    _log.warning("cannot write to the cache %s (%s); using %s", folder, reason, fallback)
    fallback.mkdir(exist_ok=True)
    return fallback


def local_path(
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Path:
    """A local file with the content of ``path``; a remote one is fetched into the cache first.

    A download that breaks off is continued by the next call, provided the remote file is still
    the same. Processes that want the same file wait for the one that fetches it.

    Args:
        path: Local path, or any URL that fsspec knows.
        sha256: Expected checksum, hexadecimal. A cached file with another one is fetched again.
        cache: Folder, see :func:`cache_dir`.

    Raises:
        MissingFileError: There is no such local file, or it cannot be fetched; the message says
            where to put it by hand.
        DataError: The content has another checksum; what was fetched is deleted.
    """
    url = resolve(path)
    if not is_url(url):
        return _existing(Path(url), sha256)
    # Not needed, and not loaded, by the many who only open local files.
    from filelock import FileLock

    target = cache_dir(cache) / _cached_name(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists() or (sha256 and _sha256(target) != sha256.lower()):
            _fetch(url, target, sha256)
    return target


def _existing(path: Path, sha256: str | None) -> Path:
    if not path.exists():
        raise MissingFileError(f"there is no file {path.absolute()}")
    if sha256:
        _check(path, str(path), sha256)
    return path


def _cached_name(url: str) -> str:
    """host/folders/name of the URL; what does not fit there is replaced by a hash."""
    parts = urlsplit(url)
    folder, _, name = unquote(parts.path).strip("/").rpartition("/")
    if parts.query:
        name = f"{hashlib.sha256(parts.query.encode()).hexdigest()[:8]}-{name}"
    if len(name.encode()) > 200:
        stem, suffix = os.path.splitext(name)
        name = f"{stem[:100]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}{suffix[:20]}"
    safe = [
        part for part in (parts.netloc, *folder.split("/"), name) if part not in ("", ".", "..")
    ]
    return "/".join(safe).replace(":", "_").replace("@", "_")


def _fetch(url: str, target: Path, sha256: str | None) -> None:
    try:
        part = _download(url, target)
    except Exception as error:  # each protocol's package raises its own kinds
        raise MissingFileError(
            f"cannot fetch {target.name}\n"
            f"  from: {url}\n"
            f"  cause: {type(error).__name__}: {error}\n"
            f"  to do without the network, get the file elsewhere and put it at {target}"
        ) from error
    if sha256:
        try:
            _check(part, url, sha256)
        except DataError:
            part.unlink()
            raise
    os.replace(part, target)


def _download(url: str, target: Path) -> Path:
    """Fetch to a partial file beside ``target`` and return that, complete."""
    system, inner = filesystem(url, **_options(url))
    info = system.info(inner)
    part = target.with_name(f"{target.name[:180]}.{_fingerprint(info)}.part")
    for stale in set(target.parent.glob(f"{_glob(target.name[:180])}.*.part")) - {part}:
        stale.unlink()  # of a remote file that has changed since
    if not (part.exists() and _resume(system, inner, part)):
        _log.info("fetching %s to %s", url, target)
        system.get_file(inner, str(part))
    size = part.stat().st_size
    if size == 0 or size != (info.get("size") or size):
        raise OSError(f"received {size} bytes of {info.get('size')}")
    return part


def _resume(system: Any, inner: str, part: Path) -> bool:
    """Fetch what a partial file lacks; False if the server only gives whole files."""
    done = part.stat().st_size
    try:
        with system.open(inner, "rb") as source:
            source.seek(done)
            with part.open("ab") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except ValueError:  # fsspec's word for a stream that cannot seek
        return False
    _log.info("continued %s at byte %d", inner, done)
    return True


def _options(url: str) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        return {}
    import aiohttp

    # aiohttp by default gives up after five minutes in all, however well a download goes.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    return {"client_kwargs": {"timeout": timeout}}


def _fingerprint(info: dict[str, Any]) -> str:
    """Changes when the remote file does, as far as its server tells."""
    facts = {key: info[key] for key in sorted(info) if key not in ("name", "url", "type")}
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def _glob(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, source: str, sha256: str) -> None:
    found = _sha256(path)
    if found != sha256.lower():
        raise DataError(f"{source} has sha256 {found}, expected {sha256.lower()}")
