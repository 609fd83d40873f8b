"""COCO data sets: instances, person keypoints, panoptic."""

from okulo_coco.__about__ import __version__

__all__ = ["__version__"]
