"""Masks predicted inside boxes, pasted into the image."""

import torch
from torch import Tensor
from torch.nn import functional as F

from okulo_ops._checks import check_boxes, check_same_device

__all__ = ["paste_masks_in_image"]

_CHUNK_BYTES = 2**30  # of float image masks at a time on a GPU


def paste_masks_in_image(
    masks: Tensor, boxes: Tensor, image_shape: tuple[int, int], threshold: float = 0.5
) -> Tensor:
    """Paste each square mask into its box in an image.

    The mask is stretched over its box and sampled bilinearly at the centre of every pixel; it is 0
    outside, and the mask of a box without area is empty.

    Args:
        masks: (N, M, M), values in [0, 1].
        boxes: (N, 4) floating, (x0, y0, x1, y1) in pixels, or an object with it as ``tensor``.
        image_shape: Height and width of the image.
        threshold: A pixel is set where the sampled value is at least this; a negative one asks for
            the values themselves.

    Returns:
        bool (N, height, width); uint8, values times 255, if ``threshold`` is negative.
    """
    boxes = getattr(boxes, "tensor", boxes)
    if not isinstance(masks, Tensor) or masks.ndim != 3 or masks.shape[1] != masks.shape[2]:
        shape = tuple(masks.shape) if isinstance(masks, Tensor) else type(masks).__name__
        raise ValueError(f"masks must be square, of shape (N, M, M), got {shape}")
    check_boxes("boxes", boxes)
    check_same_device(masks=masks, boxes=boxes)
    if len(masks) != len(boxes):
        raise ValueError(f"expected one box per mask, got {len(masks)} masks, {len(boxes)} boxes")
    masks, boxes = masks.float(), boxes.float()
    if masks.device.type == "cpu" and not torch.compiler.is_compiling():
        return _paste_one_by_one(masks, boxes, image_shape, threshold)
    return _paste_in_chunks(masks, boxes, image_shape, threshold)


def _paste_one_by_one(
    masks: Tensor, boxes: Tensor, image_shape: tuple[int, int], threshold: float
) -> Tensor:
    """Fill only the pixels around each box: a CPU's time goes with the area."""
    height, width = image_shape
    dtype = torch.uint8 if threshold < 0 else torch.bool
    pasted = torch.zeros(len(masks), height, width, dtype=dtype)
    limit = boxes.new_tensor([width, height])
    low = (boxes[:, :2].floor() - 1).clamp(min=0).minimum(limit).long().tolist()
    high = (boxes[:, 2:].ceil() + 1).clamp(min=0).minimum(limit).long().tolist()
    for i, ((x0, y0), (x1, y1)) in enumerate(zip(low, high, strict=True)):
        if x0 < x1 and y0 < y1:
            values = _sample(masks[i : i + 1], boxes[i : i + 1], (x0, y0, x1, y1))
            pasted[i, y0:y1, x0:x1] = _finish(values, threshold)[0]
    return pasted


def _paste_in_chunks(
    masks: Tensor, boxes: Tensor, image_shape: tuple[int, int], threshold: float
) -> Tensor:
    height, width = image_shape
    step = max(1, _CHUNK_BYTES // (4 * max(1, height * width)))
    parts = []
    for mask, box in zip(masks.split(step), boxes.split(step), strict=True):
        part = _finish(_sample(mask, box, (0, 0, width, height)), threshold)
        if threshold == 0:  # would be met by the whole image
            part = part & _near(box, height, width)
        parts.append(part)
    return torch.cat(parts)


def _near(boxes: Tensor, height: int, width: int) -> Tensor:
    """The pixels that a CPU fills for each box."""
    x = torch.arange(width, device=boxes.device)
    y = torch.arange(height, device=boxes.device)
    x0, y0 = (boxes[:, :2].floor() - 1)[:, :, None].unbind(dim=1)
    x1, y1 = (boxes[:, 2:].ceil() + 1)[:, :, None].unbind(dim=1)
    return ((y >= y0) & (y < y1))[:, :, None] & ((x >= x0) & (x < x1))[:, None, :]


def _sample(masks: Tensor, boxes: Tensor, region: tuple[int, int, int, int]) -> Tensor:
    """Value of each mask at the pixels of ``region`` (x0, y0, x1, y1): (N, y1 - y0, x1 - x0)."""
    left, top, right, bottom = region
    x = torch.arange(left, right, device=masks.device, dtype=torch.float32) + 0.5
    y = torch.arange(top, bottom, device=masks.device, dtype=torch.float32) + 0.5
    x0, y0, x1, y1 = boxes[:, :, None].unbind(dim=1)
    # -1 and 1 are the borders of the box; without area nothing is inside, so look far outside.
    grid_x = torch.where(x1 > x0, (x - x0) / (x1 - x0) * 2 - 1, 4.0)
    grid_y = torch.where(y1 > y0, (y - y0) / (y1 - y0) * 2 - 1, 4.0)
    count, height, width = len(masks), len(y), len(x)
    grid = torch.stack(
        (
            grid_x[:, None, :].expand(count, height, width),
            grid_y[:, :, None].expand(count, height, width),
        ),
        dim=3,
    )
    return F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0]


def _finish(values: Tensor, threshold: float) -> Tensor:
    if threshold < 0:
        return (values * 255).to(torch.uint8)
    return values >= threshold
