"""Re-identification: baselines, retrieval metrics and re-ranking."""

from okulo_reid.__about__ import __version__

__all__ = ["__version__"]
