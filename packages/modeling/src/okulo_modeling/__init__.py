"""Backbones, heads and detectors with detectron2's names and numbers."""

from okulo_modeling.__about__ import __version__

__all__ = ["__version__"]
