"""Keypoints of the instances of one image, and the heat maps that predict them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from okulo_core.structures.boxes import check_list_of

__all__ = ["Keypoints", "heatmaps_to_keypoints"]


class Keypoints:
    """K keypoints for each of N instances.

    Coordinates are continuous pixels: a point that an annotation names by the index of its pixel
    lies at that index + 0.5. Visibility is 0 (not labelled, x = y = 0), 1 (labelled, hidden) or 2
    (visible).

    Attributes:
        tensor: float32 (N, K, 3): x, y, visibility.
    """

    def __init__(self, keypoints: Tensor | Any) -> None:
        """Take keypoints (N, K, 3): a tensor, kept on its device, or anything that makes one."""
        if not isinstance(keypoints, Tensor):
            keypoints = torch.as_tensor(keypoints, dtype=torch.float32, device="cpu")
        if keypoints.ndim != 3 or keypoints.shape[2] != 3:
            raise ValueError(
                f"Keypoints need shape (N, K, 3) of x, y, visibility, got {tuple(keypoints.shape)}"
            )
        self.tensor = keypoints.to(torch.float32)

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def to(self, *args: Any, **kwargs: Any) -> Keypoints:
        """Move as ``Tensor.to`` does; the dtype stays float32."""
        return Keypoints(self.tensor.to(*args, **kwargs))

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return f"Keypoints(num_instances={len(self)}, num_keypoints={self.tensor.shape[1]})"

    def __getitem__(self, item: int | slice | Tensor) -> Keypoints:
        """Select instances by an int (one), a slice, a bool mask (N,) or a vector of indices."""
        selected = self.tensor[item]
        return Keypoints(selected[None] if isinstance(item, int) else selected)

    def to_heatmap(self, boxes: Tensor, heatmap_size: int) -> tuple[Tensor, Tensor]:
        """Say in which cell of a grid over its instance's box each keypoint lies.

        Args:
            boxes: (N, 4), x0, y0, x1, y1 in pixels, one for each instance.
            heatmap_size: Cells on each side of the grid.

        Returns:
            Two int64 (N, K): the cell, row * size + column, and 1 where it counts. A keypoint
            counts if it is labelled and inside its box, the right and bottom border included; the
            others, and all in a box without area, have cell 0.
        """
        if tuple(boxes.shape) != (len(self), 4):
            raise ValueError(f"boxes must have shape ({len(self)}, 4), got {tuple(boxes.shape)}")
        points, origin, end = self.tensor[..., :2], boxes[:, None, :2], boxes[:, None, 2:]
        cells = ((points - origin) * (heatmap_size / (end - origin))).floor()
        cells = torch.where(
            points == end, heatmap_size - 1, cells
        )  # the last cell has both borders
        inside = ((cells >= 0) & (cells < heatmap_size) & (end > origin)).all(dim=2)
        valid = inside & (self.tensor[..., 2] > 0)
        column, row = torch.where(valid[..., None], cells, 0).long().unbind(dim=2)
        return row * heatmap_size + column, valid.long()

    @staticmethod
    def cat(keypoints_list: Sequence[Keypoints]) -> Keypoints:
        """Concatenate the instances of one or more objects of equal K."""
        check_list_of(Keypoints, keypoints_list)
        if len(keypoints_list) == 0:
            raise ValueError("Keypoints.cat needs at least one element, got none")
        return Keypoints(torch.cat([each.tensor for each in keypoints_list], dim=0))


@torch.no_grad()
def heatmaps_to_keypoints(maps: Tensor, rois: Tensor) -> Tensor:
    """Find the most likely place of each keypoint.

    Every heat map is resized bicubically to its region in whole pixels, and the largest value taken
    (https://arxiv.org/abs/1703.06870, section 5).

    Args:
        maps: (R, K, H, W) logits.
        rois: (R, 4), x0, y0, x1, y1 in pixels; a side below 1 counts as 1.

    Returns:
        (R, K, 4): x, y in pixels, logit, and score: exp(logit) over the sum of exp over the heat
        map before resizing. It carries no gradient.
    """
    if maps.ndim != 4:
        raise ValueError(f"maps must have shape (R, K, H, W), got {tuple(maps.shape)}")
    if tuple(rois.shape) != (len(maps), 4):
        raise ValueError(f"rois must have shape ({len(maps)}, 4), got {tuple(rois.shape)}")
    sides = (rois[:, 2:] - rois[:, :2]).clamp(min=1)
    pixels = sides.ceil()
    found = maps.new_zeros(*maps.shape[:2], 4)
    for i, (width, height) in enumerate(pixels.long().tolist()):
        resized = F.interpolate(
            maps[i : i + 1], size=(height, width), mode="bicubic", align_corners=False
        )[0]
        logit, place = resized.flatten(1).max(dim=1)
        at = torch.stack((place % width, place // width), dim=1) + 0.5
        found[i, :, :2] = at * (sides[i] / pixels[i]) + rois[i, :2]
        found[i, :, 2] = logit
        found[i, :, 3] = 1 / (maps[i].flatten(1) - logit[:, None]).exp().sum(dim=1)
    return found
