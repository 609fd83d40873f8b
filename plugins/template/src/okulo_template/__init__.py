"""A complete third-party plugin to copy."""

from okulo_template.__about__ import __version__

__all__ = ["__version__"]
