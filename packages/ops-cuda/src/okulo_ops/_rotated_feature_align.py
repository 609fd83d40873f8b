"""Features gathered where a refined box is (https://arxiv.org/abs/1908.05612, section 3.3)."""

import torch
from torch import Tensor

from okulo_ops._checks import check_floating, check_same_device
from okulo_ops._operator import define
from okulo_ops._sampling import bilinear_taps, check_features, computed_in, sum_of_pixels

__all__ = ["rotated_feature_align"]


def rotated_feature_align(
    features: Tensor, best_rbboxes: Tensor, spatial_scale: float = 1 / 8, points: int = 1
) -> Tensor:
    """Add to each feature those at the centre, and the corners, of its rotated box.

    Samples are bilinear; up to one pixel outside the map they repeat its border, farther out they
    are 0.

    Args:
        features: (N, C, H, W) floating.
        best_rbboxes: (N, H, W, 5) floating (cy, cx, w, h, angle), y before x: pixels of the image
            and radians, positive angles clockwise on the screen; the feature at index i stands at
            i / ``spatial_scale``.
        spatial_scale: Cells of the feature map for a pixel of the image.
        points: 1 for the centre, 5 for centre and corners.

    Returns:
        (N, C, H, W), dtype of ``features``; float16 and bfloat16 are computed in float32. The
        gradient flows to ``features`` only.

    Raises:
        ValueError: Shapes or ``points`` differ from the above.
    """
    check_features("features", features)
    count, _, height, width = features.shape
    check_floating("best_rbboxes", best_rbboxes, (count, height, width, 5))
    check_same_device(features=features, best_rbboxes=best_rbboxes)
    if points not in (1, 5):
        raise ValueError(f"points must be 1 (centre) or 5 (centre and corners), got {points}")
    boxes = best_rbboxes.to(computed_in(features))
    return _operator(features, boxes, spatial_scale, points)  # type: ignore[no-any-return]


def _meaning(features: Tensor, boxes: Tensor, spatial_scale: float, points: int) -> Tensor:
    count, height, width = boxes.shape[:3]
    y, x, w, h, angle = boxes.to(computed_in(features)).flatten(0, 2).unbind(1)
    y, x = y * spatial_scale, x * spatial_scale
    cos, sin = angle.cos() * spatial_scale / 2, angle.sin() * spatial_scale / 2
    every = torch.arange(count * height * width, device=features.device)
    image = every // (height * width)
    sums = features.permute(0, 2, 3, 1).flatten(0, 2).to(computed_in(features))
    for u, v in ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))[:points]:
        dx, dy = u * w * cos - v * h * sin, u * w * sin + v * h * cos
        taps = bilinear_taps(y + dy, x + dx, height, width)
        sums = sums + sum_of_pixels(features, image, taps, every, len(every))
    return sums.unflatten(0, (count, height, width)).permute(0, 3, 1, 2).to(features.dtype)


_operator = define(
    "rotated_feature_align(Tensor features, Tensor boxes, float spatial_scale, int points)"
    " -> Tensor",
    _meaning,
    lambda features, *_: features.new_empty(features.shape),
    gradient=["features"],
)
