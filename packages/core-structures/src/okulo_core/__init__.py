"""Structures, dataset records, components, typed configuration and file io of Okulo."""

from okulo_core.__about__ import __version__

__all__ = ["__version__"]
