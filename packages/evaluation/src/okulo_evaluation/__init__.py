"""Metrics, drawing and reports for detection and segmentation."""

from okulo_evaluation.__about__ import __version__

__all__ = ["__version__"]
