"""Read and write plain data as JSON, YAML or pickle; reading never runs code."""

import io
import json
import os
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO

from okulo_core.errors import DataError
from okulo_core.io.files import atomic_write, open_file, read_bytes
from okulo_core.io.paths import is_url, resolve

__all__ = ["dump", "load"]

_FORMATS = {"json": "json", "yaml": "yaml", "yml": "yaml", "pickle": "pickle", "pkl": "pickle"}

# Everything a pickle of plain containers and numpy arrays refers to by name. What is not here is
# refused, because unpickling calls whatever the file names.
_SAFE_GLOBALS = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),  # how protocols below 3 store bytes
    *((module, name) for module in ("builtins", "__builtin__") for name in ("set", "frozenset")),
    *(
        (module, name)
        for module in ("builtins", "__builtin__")
        for name in ("complex", "bytearray")
    ),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")  # numpy 1 and numpy 2
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
}


def load(path: str | os.PathLike[str], format: str | None = None) -> Any:
    """Read plain data.

    Args:
        path: Local path or URL.
        format: ``json``, ``yaml`` (``yml``) or ``pickle`` (``pkl``); by default what the name
            ends in.

    Raises:
        TypeError: No such format.
        DataError: The file is empty or is not what its name says; a pickle names anything but
            plain containers and numpy arrays.
    """
    kind = _format(path, format)
    content = read_bytes(path)
    if not content.strip():
        raise DataError(f"{path} is empty; expected {kind}")
    try:
        return _LOADERS[kind](content)
    except (ValueError, pickle.UnpicklingError, EOFError) as error:
        raise DataError(f"cannot read {path} as {kind}: {error}") from error


def dump(
    obj: Any, path: str | os.PathLike[str] | None = None, format: str | None = None
) -> str | bytes | None:
    """Write plain data; a local file is replaced in one step.

    JSON also takes sets and ranges (as lists), numpy arrays (nested lists) and numpy scalars.

    Args:
        obj: What to write.
        path: Local path or URL; None returns the text (JSON, YAML) or bytes (pickle) instead.
        format: As for :func:`load`; must be given where there is no path.

    Raises:
        TypeError: No such format, or an object that the format cannot hold.
    """
    content = _DUMPERS[_format(path, format)](obj)
    if path is None:
        return content
    mode = "w" if isinstance(content, str) else "wb"
    # Remote stores show a file once it is closed, whole or not at all.
    with open_file(path, mode) if is_url(resolve(path)) else atomic_write(path, mode) as file:
        file.write(content)
    return None


def _format(path: str | os.PathLike[str] | None, format: str | None) -> str:
    if format is None and path is None:
        raise ValueError(f"without a path, the format must be given: one of {sorted(_FORMATS)}")
    name = format if format is not None else os.fspath(path or "").rpartition(".")[2]
    if name.lower() not in _FORMATS:
        raise TypeError(f"no format {name!r} (path {path}); the formats are {sorted(_FORMATS)}")
    return _FORMATS[name.lower()]


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _SAFE_GLOBALS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(
            f"refused to load {module}.{name}; a pickle may hold plain containers, numbers, text "
            "and numpy arrays only, since anything else can run code"
        )


def _load_pickle(content: bytes) -> Any:
    file: BinaryIO = io.BytesIO(content)
    # latin1 is how Python 2 wrote both its text and the bytes of its arrays.
    return _PlainUnpickler(file, encoding="latin1").load()


def _load_yaml(content: bytes) -> Any:
    import yaml

    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _dump_yaml(obj: Any) -> str:
    import yaml

    try:
        return yaml.safe_dump(obj, sort_keys=False, allow_unicode=True)
    except yaml.representer.RepresenterError as error:
        raise TypeError(f"YAML cannot hold {error}") from error


def _jsonable(value: Any) -> Any:
    if isinstance(value, set | frozenset | range):
        return list(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return value.tolist()
    raise TypeError(f"JSON cannot hold an object of type {type(value).__name__}: {value!r}")


_LOADERS: dict[str, Callable[[bytes], Any]] = {
    "json": json.loads,
    "yaml": _load_yaml,
    "pickle": _load_pickle,
}
_DUMPERS: dict[str, Callable[[Any], str | bytes]] = {
    "json": lambda obj: json.dumps(obj, default=_jsonable),
    "yaml": _dump_yaml,
    "pickle": pickle.dumps,
}
