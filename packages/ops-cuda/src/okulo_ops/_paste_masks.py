"""Masks predicted inside boxes, pasted into the image."""

import torch
from torch import Tensor
from torch.nn import functional as F

from okulo_ops._checks import check_boxes, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["paste_masks_in_image"]

_CHUNK_BYTES = 2**30  # of float image masks at a time, without a kernel


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
    height, width = image_shape
    if min(height, width) < 0:
        raise ValueError(f"image_shape must be (height, width), 0 or more, got {image_shape}")
    return _paste_masks(masks.float(), boxes.float(), height, width, threshold)  # type: ignore[no-any-return]


def _meaning(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    masks, boxes = in_float32(masks), in_float32(boxes)
    padded = F.pad(masks, (1, 1, 1, 1))
    step = max(1, _CHUNK_BYTES // (4 * max(1, height * width)))
    parts = [masks.new_zeros(0, height, width, dtype=_dtype(threshold))]
    for cells, (x0, y0, x1, y1) in zip(
        padded.split(step), (part.unbind(dim=1) for part in boxes.split(step)), strict=True
    ):
        v, above, below, near_y = _taps(y0, y1, height, masks.shape[1])
        u, before, after, near_x = _taps(x0, x1, width, masks.shape[1])
        v, u = v[:, :, None].expand(-1, -1, cells.shape[2]), u[:, None].expand(-1, height, -1)
        lines = cells.gather(1, v) * above[:, :, None] + cells.gather(1, v + 1) * below[:, :, None]
        values = lines.gather(2, u) * before[:, None] + lines.gather(2, u + 1) * after[:, None]
        near = near_y[:, :, None] & near_x[:, None] & ((x1 > x0) & (y1 > y0))[:, None, None]
        parts.append(_finish(values, threshold) * near)
    return torch.cat(parts)


def _taps(
    low: Tensor, high: Tensor, pixels: int, size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each pixel the cell before its centre, counted with the border of zeros, the weights of
    that cell and the next one, and whether the box is near. All (N, pixels)."""
    low, high = low[:, None], high[:, None]
    pixel = torch.arange(pixels, device=low.device)
    place = (pixel + 0.5 - low) / (high - low) * size - 0.5
    inside = (high > low) & (place > -1) & (place < size)
    index = torch.where(inside, place.floor(), -1.0)
    after = torch.where(inside, place - index, 0)
    near = (pixel >= low.floor() - 1) & (pixel < high.ceil() + 1)
    return index.long() + 1, torch.where(inside, 1 - after, 0), after, near


def _finish(values: Tensor, threshold: float) -> Tensor:
    if threshold < 0:
        return (values * 255).clamp(0, 255).to(torch.uint8)
    return values >= threshold


def _dtype(threshold: float) -> torch.dtype:
    return torch.uint8 if threshold < 0 else torch.bool


def _fake(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    return masks.new_empty(masks.shape[0], height, width, dtype=_dtype(threshold))


_paste_masks = define(
    "paste_masks(Tensor masks, Tensor boxes, SymInt height, SymInt width, float threshold)"
    " -> Tensor",
    _meaning,
    _fake,
)
