"""Training loop, hooks, checkpoints, data loading and the command line okulo."""

from okulo_engine.__about__ import __version__

__all__ = ["__version__"]
