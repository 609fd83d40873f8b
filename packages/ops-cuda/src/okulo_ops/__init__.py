"""Native operators for detection and segmentation with one meaning on every device."""

from okulo_ops.__about__ import __version__

__all__ = ["__version__"]
