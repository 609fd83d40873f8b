"""Pasting by boxes of whole pixels, as done before continuous coordinates, and its helpers."""

import torch
from torch import Tensor
from torch.nn import functional as F

from okulo_ops._checks import check_boxes

__all__ = ["paste_mask_in_image_old", "pad_masks", "scale_boxes"]


def paste_mask_in_image_old(
    mask: Tensor, box: Tensor, img_h: int, img_w: int, threshold: float
) -> Tensor:
    """Resize one mask to the whole pixels of its box, the last ones included, and place it.

    Prefer :func:`okulo_ops.paste_masks_in_image`, which keeps fractions of pixels.

    Args:
        mask: (M, M), values in [0, 1].
        box: (4,), (x0, y0, x1, y1) in pixels; truncated to integers, so that the box is
            x1 - x0 + 1 wide. One that is narrower than a pixel leaves the image empty.
        img_h: Height of the image.
        img_w: Its width.
        threshold: A pixel is set where the resized mask is greater; a negative one asks for the
            values themselves.

    Returns:
        uint8 (img_h, img_w): 0 and 1, or values times 255 if ``threshold`` is negative.
    """
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        raise ValueError(f"mask must be square, of shape (M, M), got {tuple(mask.shape)}")
    if box.shape != (4,):
        raise ValueError(f"box must have shape (4,), got {tuple(box.shape)}")
    x0, y0, x1, y1 = box.to(torch.int32).tolist()
    image = torch.zeros(img_h, img_w, dtype=torch.uint8, device=mask.device)
    if x1 < x0 or y1 < y0:
        return image
    size = y1 - y0 + 1, x1 - x0 + 1
    # Averages where it shrinks, as image libraries do.
    values = F.interpolate(mask[None, None].float(), size, mode="bilinear", antialias=True)[0, 0]
    pixels = values > threshold if threshold >= 0 else (values * 255).clamp(0, 255)
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = max(min(x1 + 1, img_w), left), max(min(y1 + 1, img_h), top)
    part = pixels[top - y0 : bottom - y0, left - x0 : right - x0]
    image[top:bottom, left:right] = part.to(torch.uint8)
    return image


def pad_masks(masks: Tensor, padding: int) -> tuple[Tensor, float]:
    """Surround masks with zeros.

    Args:
        masks: (N, M, M).
        padding: Cells on each side.

    Returns:
        (N, M + 2 padding, M + 2 padding), and how much larger that is: (M + 2 padding) / M.
    """
    if masks.ndim != 3 or masks.shape[1] != masks.shape[2]:
        raise ValueError(f"masks must be square, of shape (N, M, M), got {tuple(masks.shape)}")
    if padding < 0:
        raise ValueError(f"padding must be at least 0, got {padding}")
    size = masks.shape[1]
    return F.pad(masks, (padding,) * 4), (size + 2 * padding) / size


def scale_boxes(boxes: Tensor, scale: float) -> Tensor:
    """Scale each box about its centre.

    Args:
        boxes: (N, 4) floating, (x0, y0, x1, y1).
        scale: Factor of width and height.

    Returns:
        (N, 4), dtype of the input.
    """
    check_boxes("boxes", boxes)
    center = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    half = (boxes[:, 2:] - boxes[:, :2]) * (0.5 * scale)
    return torch.cat((center - half, center + half), dim=1)
