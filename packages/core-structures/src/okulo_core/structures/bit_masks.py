"""Masks as pixels of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from okulo_core.structures.boxes import Boxes, check_list_of
from okulo_core.structures.polygon_masks import PolygonMasks, polygons_to_bitmask
from okulo_ops import roi_align

if TYPE_CHECKING:
    from okulo_core.structures.roi_masks import ROIMasks

__all__ = ["BitMasks"]


class BitMasks:
    """The masks of N instances, each as large as the image.

    Attributes:
        tensor: bool (N, H, W).
        image_size: Height and width, in pixels.
    """

    def __init__(self, tensor: Tensor | Any) -> None:
        """Take masks (N, H, W): a tensor, kept on its device, or an array; nonzero means set."""
        if not isinstance(tensor, Tensor):
            tensor = torch.as_tensor(tensor, device="cpu")
        if tensor.ndim != 3:
            raise ValueError(
                f"BitMasks need shape (N, H, W), got {tuple(tensor.shape)}; one mask is mask[None]"
            )
        self.tensor = tensor.to(torch.bool)
        self.image_size = (tensor.shape[1], tensor.shape[2])

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def to(self, *args: Any, **kwargs: Any) -> BitMasks:
        """Move as ``Tensor.to`` does; the masks stay bool."""
        return BitMasks(self.tensor.to(*args, **kwargs))

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return f"BitMasks(num_instances={len(self)}, image_size={self.image_size})"

    def __iter__(self) -> Iterator[Tensor]:
        """Yield each mask, (H, W)."""
        yield from self.tensor

    def __getitem__(self, item: int | slice | Tensor) -> BitMasks:
        """Select masks by an int (one mask), a slice, a bool mask (N,) or a vector of indices."""
        selected = self.tensor[item]
        if isinstance(item, int):
            selected = selected[None]
        if selected.ndim != 3:
            raise ValueError(
                f"indexing BitMasks must give shape (K, H, W), "
                f"got {tuple(selected.shape)} from {item!r}"
            )
        return BitMasks(selected)

    def nonempty(self) -> Tensor:
        """bool (N,): a pixel is set."""
        return self.tensor.flatten(1).any(dim=1)

    def get_bounding_boxes(self) -> Boxes:
        """The smallest boxes around the set pixels; (0, 0, 0, 0) for an empty mask."""
        if self.tensor.numel() == 0:
            return Boxes(torch.zeros(len(self), 4, device=self.device))
        x0, x1 = _extent(self.tensor.any(dim=1))
        y0, y1 = _extent(self.tensor.any(dim=2))
        return Boxes(torch.stack((x0, y0, x1, y1), dim=1))

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """Sample each mask inside its box, e.g. as a mask head's target.

        Args:
            boxes: (N, 4), x0, y0, x1, y1 in pixels, one for each mask.
            mask_size: Side of the sampled masks, in cells.

        Returns:
            bool (N, mask_size, mask_size) on the device of the masks; a cell is set where the mean
            of :func:`okulo_ops.roi_align` is at least 0.5.
        """
        if tuple(boxes.shape) != (len(self), 4):
            raise ValueError(f"boxes must have shape ({len(self)}, 4), got {tuple(boxes.shape)}")
        boxes = boxes.detach().to(self.device, torch.float32)
        index = torch.arange(len(self), device=self.device, dtype=torch.float32)
        rois = torch.cat((index[:, None], boxes), dim=1)
        masks = self.tensor[:, None].float()
        return roi_align(masks, rois, mask_size, 1.0, 0, aligned=True)[:, 0] >= 0.5

    @staticmethod
    def from_polygon_masks(
        polygon_masks: PolygonMasks | list[list[Any]], height: int, width: int
    ) -> BitMasks:
        """Draw polygons by COCO's rule, (N, height, width) on the CPU.

        Args:
            polygon_masks: :class:`PolygonMasks`, or the lists of polygons it is made of.
            height: Of the image, in pixels.
            width: Of the image, in pixels.
        """
        if not isinstance(polygon_masks, PolygonMasks):
            polygon_masks = PolygonMasks(polygon_masks)
        masks = np.zeros((len(polygon_masks), height, width), dtype=bool)
        for mask, polygons in zip(masks, polygon_masks, strict=True):
            mask[:] = polygons_to_bitmask(polygons, height, width)
        return BitMasks(masks)

    @staticmethod
    def from_roi_masks(
        roi_masks: ROIMasks, boxes: Boxes, height: int, width: int, threshold: float = 0.5
    ) -> BitMasks:
        """Paste masks predicted inside boxes; see :meth:`ROIMasks.to_bitmasks`."""
        return roi_masks.to_bitmasks(boxes, height, width, threshold)

    @staticmethod
    def cat(bitmasks_list: Sequence[BitMasks]) -> BitMasks:
        """Concatenate the masks of one or more objects of one image size."""
        check_list_of(BitMasks, bitmasks_list)
        if len(bitmasks_list) == 0:
            raise ValueError("BitMasks.cat needs at least one element, got none")
        sizes = {masks.image_size for masks in bitmasks_list}
        if len(sizes) > 1:
            raise ValueError(f"expected BitMasks of one image size, got {sorted(sizes)}")
        return BitMasks(torch.cat([masks.tensor for masks in bitmasks_list], dim=0))


def _extent(set_NL: Tensor) -> tuple[Tensor, Tensor]:
    """First set index and one past the last, float32 (N,); 0 and 0 where none is set."""
    index = torch.arange(set_NL.shape[1], device=set_NL.device, dtype=torch.float32)
    end = torch.where(set_NL, index + 1, 0.0).amax(dim=1)
    return torch.where(set_NL, index, torch.inf).amin(dim=1).minimum(end), end
