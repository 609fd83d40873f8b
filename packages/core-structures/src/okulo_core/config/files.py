"""Configuration files: YAML, TOML or JSON by their suffix, inheriting through ``base``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from okulo_core.catalog import Catalog
from okulo_core.config import text
from okulo_core.config.diffing import diff
from okulo_core.config.merging import merge, override
from okulo_core.config.structuring import structure
from okulo_core.config.unstructuring import unstructure
from okulo_core.errors import ConfigError, MissingFileError

__all__ = ["load_config", "read_file", "save_config"]

T = TypeVar("T")
_PARSERS: dict[str, Callable[[str], Any]] = {
    ".yaml": text.parse_yaml,
    ".yml": text.parse_yaml,
    ".toml": text.parse_toml,
    ".json": text.parse_json,
}
_DUMPERS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    ".yaml": text.dump_yaml,
    ".yml": text.dump_yaml,
    ".toml": text.dump_toml,
    ".json": text.dump_json,
}


def load_config(
    path: str | Path,
    cls: type[T],
    catalog: Catalog,
    overrides: Sequence[str] = (),
    *,
    resolve: Callable[[str], str] = str,
) -> T:
    """Read a configuration.

    Args:
        path: A file, see :func:`read_file`.
        cls: The class of the whole configuration.
        catalog: Where ``type`` is looked up.
        overrides: ``a.b.0.c=value`` each; a value is read as YAML.
        resolve: Turns a path into one that opens, such as ``Plugins.resolve_path``.

    Raises:
        MissingFileError: The file or one of its bases does not exist.
        ConfigError: Lists every fault.
    """
    data = override(read_file(path, resolve=resolve), overrides)
    try:
        return structure(data, cls, catalog)
    except ConfigError as error:
        raise ConfigError(error.problems, str(path)) from None


def read_file(path: str | Path, *, resolve: Callable[[str], str] = str) -> dict[str, Any]:
    """Read a file and the files it inherits from as one mapping.

    ``base`` names a file, or several of which later ones win, relative to the file that names it.
    Mappings merge, another ``type`` replaces the component, and lists replace.

    Args:
        path: Suffix ``.yaml``, ``.yml``, ``.toml`` or ``.json``.
        resolve: Turns a path into one that opens, such as ``Plugins.resolve_path``.

    Raises:
        MissingFileError: The file or one of its bases does not exist.
        ConfigError: A file cannot be parsed, or inherits from itself.
    """
    return _read(Path(resolve(str(path))).expanduser(), resolve, ())


def save_config(config: Any, path: str | Path, catalog: Catalog) -> None:
    """Write a configuration in full, so that reading the file gives an equal one.

    Args:
        config: A frozen attrs instance.
        path: Its suffix chooses the format; the file is replaced in one step.
        catalog: Where the names of components come from.

    Raises:
        ConfigError: The suffix is unknown, or TOML, which has no null, cannot state a value.
    """
    from okulo_core.io import atomic_write

    path = Path(path)
    data = unstructure(config, catalog)
    written = _for_suffix(_DUMPERS, path)(data)
    if path.suffix == ".toml":
        _refuse_lost_null(data, structure(text.parse_toml(written), type(config), catalog), catalog)
    with atomic_write(path, "w") as file:
        file.write(written)


def _read(path: Path, resolve: Callable[[str], str], below: tuple[Path, ...]) -> dict[str, Any]:
    real = path.resolve()
    if real in below:
        circle = " -> ".join(str(item) for item in (*below[below.index(real) :], real))
        raise ConfigError(f"base: a file inherits from itself: {circle}", str(below[-1]))
    data = _parsed(path, below)
    bases = data.pop("base", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(item, str) for item in bases):
        raise ConfigError(f"base: expected a path or a list of paths, got {bases!r}", str(path))
    merged: dict[str, Any] = {}
    for base in bases:
        place = path.parent / Path(resolve(base)).expanduser()
        merged = merge(merged, _read(place, resolve, (*below, real)))
    return merge(merged, data)


def _parsed(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    parse = _for_suffix(_PARSERS, path)
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        where = f"{below[-1]} names the base {path}" if below else f"there is no file {path}"
        raise MissingFileError(f"{where}, which does not exist" if below else where) from None
    except RecursionError:
        raise ConfigError("nested too deeply", str(path)) from None
    except (ValueError, OSError) as error:
        raise ConfigError(str(error), str(path)) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"expected a mapping, got {data!r}", str(path))
    return data


def _for_suffix(table: Mapping[str, Any], path: Path) -> Any:
    try:
        return table[path.suffix.lower()]
    except KeyError:
        known = ", ".join(table)
        raise ConfigError(f"expected a file ending in {known}, got {path.name!r}") from None


def _refuse_lost_null(data: dict[str, Any], read: Any, catalog: Catalog) -> None:
    lost = [change.path for change in diff(data, unstructure(read, catalog))]
    if lost:
        raise ConfigError(
            [f"{path}: is null, which TOML cannot state; write YAML" for path in lost]
        )
