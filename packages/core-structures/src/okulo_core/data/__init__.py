"""Data sets: records of images, what they share, and how workers share them."""

from okulo_core.data.dataset import Dataset, InMemoryDataset
from okulo_core.data.info import DatasetInfo
from okulo_core.data.records import Annotation, ImageRecord, Segmentation
from okulo_core.data.shared import SharedRecords

__all__ = [
    "Annotation",
    "Dataset",
    "DatasetInfo",
    "ImageRecord",
    "InMemoryDataset",
    "Segmentation",
    "SharedRecords",
]
