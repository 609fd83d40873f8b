"""Complete runs as YAML and as Python, and the demo."""

from okulo_recipes.__about__ import __version__

__all__ = ["__version__"]
