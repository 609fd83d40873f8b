"""Errors that say what was expected, what was received and what to do."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from attrs import Attribute

__all__ = [
    "CheckpointError",
    "ComponentError",
    "ConfigError",
    "DataError",
    "DuplicateComponentError",
    "MissingFileError",
    "OkuloError",
    "PluginError",
    "PluginWarning",
    "UnknownComponentError",
    "did_you_mean",
    "words_of",
    "with_article",
]


class OkuloError(Exception):
    """Base of every error that a user of Okulo can cause and repair."""


class PluginError(OkuloError):
    """A plugin cannot be used; raised in strict mode only."""


class PluginWarning(UserWarning):
    """A plugin was left out because it cannot be used."""


class ComponentError(OkuloError):
    """A component exists but not as asked for: another kind, or a target that is no config."""


class UnknownComponentError(ComponentError):
    """No loaded plugin provides the component."""


class DuplicateComponentError(ComponentError):
    """Several distributions provide the component under one name."""


class ConfigError(OkuloError):
    """A configuration is wrong; every fault is listed, each with its path.

    Args:
        problems: One sentence per fault, ``path: what is wrong``.
        source: The file that was read, or nothing.
    """

    def __init__(self, problems: str | Sequence[str], source: str = "") -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        self.source = source
        title = f"invalid configuration {source}".rstrip()
        super().__init__("\n  ".join([f"{title}:", *self.problems]))

    def __reduce__(self) -> tuple[type, tuple[tuple[str, ...], str]]:
        return type(self), (self.problems, self.source)


class DataError(OkuloError):
    """A dataset, image or annotation cannot be used."""


class CheckpointError(OkuloError):
    """A checkpoint cannot be read or does not fit the model."""


class MissingFileError(OkuloError, FileNotFoundError):
    """A file that is needed is not there."""

    def __str__(self) -> str:  # FileNotFoundError would show an errno
        return str(self.args[0]) if self.args else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message on an unknown name: the nearest known ones, else all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=3)
    if near:
        return "; did you mean " + " or ".join(repr(item) for item in near) + "?"
    return f"; there are: {', '.join(names)}" if names else ""


def with_article(kind: str) -> str:
    """``a backbone``, ``an augmentation``."""
    return f"{'an' if kind[:1] in 'aeio' else 'a'} {kind}"


def words_of(error: BaseException) -> str:
    """What an exception says; those of attrs' validators carry the attribute behind the text."""
    if len(error.args) > 1 and isinstance(error.args[1], Attribute):
        return str(error.args[0])
    return str(error) or repr(error)
