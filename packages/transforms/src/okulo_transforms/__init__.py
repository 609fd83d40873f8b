"""Transforms of images together with their annotations."""

from okulo_transforms.__about__ import __version__

__all__ = ["__version__"]
