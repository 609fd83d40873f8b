"""Growing kernels of text instances to whole regions: each pixel goes to who reaches it first."""

from collections import deque
from typing import Any

import torch
from torch import Tensor

from okulo_ops._operator import define

__all__ = ["pixel_group", "contour_expand"]


def pixel_group(
    score: Any,
    mask: Any,
    embedding: Any,
    kernel_label: Any,
    kernel_contour: Any,
    kernel_region_num: int,
    distance_threshold: float,
) -> list[list[float]]:
    """Grow kernels over pixels of similar embedding (PAN, https://arxiv.org/abs/1908.05900, 3.3).

    From contour pixels in row order, breadth first over upper, lower, left and right neighbours: a
    pixel of ``mask`` without label joins if its embedding is nearer than the threshold to the mean
    of the kernel. All maps are tensors or arrays.

    Args:
        score: (H, W) floating, of text.
        mask: (H, W) bool or integer, non-zero where text may be.
        embedding: (H, W, C) floating.
        kernel_label: (H, W) integer, from 0, none, to kernel_region_num - 1.
        kernel_contour: (H, W) bool or integer, non-zero where growth begins.
        kernel_region_num: Number of labels, that of the background included.
        distance_threshold: Euclidean, in units of the embedding.

    Returns:
        For each label [mean score, number of pixels, x0, y0, x1, y1, ...]; [0, 0] for label 0 and
        for one without pixels.
    """
    maps = [torch.as_tensor(m) for m in (score, mask, kernel_label, kernel_contour)]
    features = torch.as_tensor(embedding)
    if any(m.shape != maps[0].shape or m.ndim != 2 for m in maps) or (
        features.ndim != 3 or features.shape[:2] != maps[0].shape
    ):
        shapes = [tuple(m.shape) for m in (*maps, features)]
        raise ValueError(f"expected four maps (H, W) and embeddings (H, W, C), got {shapes}")
    if not (maps[0].is_floating_point() and features.is_floating_point()):
        raise TypeError(
            f"score and embedding must be floating, got {maps[0].dtype} and {features.dtype}"
        )
    labels = _labels("kernel_label", maps[2], kernel_region_num)
    grown: Tensor = _grow(
        maps[1] != 0, features, labels, maps[3] != 0, kernel_region_num, distance_threshold
    )
    return [_region(maps[0], grown == i if i else None) for i in range(kernel_region_num)]


def contour_expand(
    kernel_mask: Any, internal_kernel_label: Any, min_kernel_area: int, kernel_num: int
) -> list[list[int]]:
    """Expand kernels through larger and larger masks (PSENet, https://arxiv.org/abs/1903.12473,
    section 3.2).

    Args:
        kernel_mask: (K, H, W) bool or integer, non-zero inside, the largest first.
        internal_kernel_label: (H, W) integer labels of the smallest, 0 outside.
        min_kernel_area: Labels of fewer pixels are left out.
        kernel_num: Number of labels, that of the background included.

    Returns:
        Labels of the pixels, a list of W for each of H rows.
    """
    masks, label = torch.as_tensor(kernel_mask), torch.as_tensor(internal_kernel_label)
    if masks.ndim != 3 or label.ndim != 2 or masks.shape[1:] != label.shape or len(masks) == 0:
        raise ValueError(
            "expected kernel_mask (K, H, W) and internal_kernel_label (H, W), got "
            f"{tuple(masks.shape)} and {tuple(label.shape)}"
        )
    labels = _labels("internal_kernel_label", label, kernel_num)
    result: Tensor = _expand(masks != 0, labels, min_kernel_area, kernel_num)
    return result.tolist()  # type: ignore[no-any-return]


def _labels(name: str, label: Tensor, count: int) -> Tensor:
    if label.is_floating_point() or label.dtype == torch.bool:
        raise TypeError(f"{name} must be integer, got {label.dtype}")
    if label.numel() and not (label.min() >= 0 and label.max() < count):
        raise ValueError(
            f"{name} must lie in 0 .. {count - 1}, the last label that the count of {count} "
            f"allows, got {label.min().item()} .. {label.max().item()}"
        )
    return label.to(torch.int32)


def _region(score: Tensor, inside: Tensor | None) -> list[float]:
    if inside is None or not inside.any():
        return [0.0, 0.0]
    yx = inside.nonzero()
    mean = score[inside].double().mean().item()
    return [mean, float(len(yx)), *yx.flip(1).flatten().double().tolist()]


def _neighbors(y: int, x: int, height: int, width: int) -> list[tuple[int, int]]:
    around = (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)
    return [(b, a) for b, a in around if 0 <= b < height and 0 <= a < width]


def _grow_meaning(
    mask: Tensor, embedding: Tensor, label: Tensor, contour: Tensor, count: int, threshold: float
) -> Tensor:
    """Pixel after pixel: who comes first decides, so there is nothing to do at once."""
    height, width = label.shape
    free, points, labels = mask.tolist(), embedding.double().tolist(), label.tolist()
    pixels = [(y, x) for y in range(height) for x in range(width) if labels[y][x] > 0]
    means = [[0.0] * embedding.shape[2] for _ in range(count)]
    sizes = [0] * count
    for y, x in pixels:
        k = labels[y][x]
        means[k] = [a + b for a, b in zip(means[k], points[y][x], strict=True)]
        sizes[k] += 1
    means = [[v / max(n, 1) for v in mean] for mean, n in zip(means, sizes, strict=True)]
    begins = contour.tolist()
    queue = deque(p for p in pixels if begins[p[0]][p[1]])
    while queue:
        y, x = queue.popleft()
        k = labels[y][x]
        for b, a in _neighbors(y, x, height, width):
            if labels[b][a] == 0 and free[b][a]:
                total = 0.0
                for p, q in zip(points[b][a], means[k], strict=True):
                    total += (p - q) * (p - q)
                if total < threshold * threshold:
                    labels[b][a] = k
                    queue.append((b, a))
    return label.new_tensor(labels).reshape(label.shape)


_grow = define(
    "pixel_group(Tensor mask, Tensor embedding, Tensor label, Tensor contour, int count,"
    " float threshold) -> Tensor",
    _grow_meaning,
    lambda mask, embedding, label, *_: label.new_empty(label.shape),
)


def _expand_meaning(masks: Tensor, label: Tensor, min_area: int, count: int) -> Tensor:
    height, width = label.shape
    areas = torch.bincount(label.flatten().long(), minlength=count)
    kept = (label > 0) & (areas[label.long()] >= min_area)
    labels = torch.where(kept, label, 0).tolist()
    queue: deque[tuple[int, ...]] = deque(map(tuple, kept.nonzero().tolist()))
    for mask in masks[:-1].flip(0).tolist():
        edge: deque[tuple[int, ...]] = deque()
        while queue:
            y, x = queue.popleft()
            free = [
                (b, a)
                for b, a in _neighbors(y, x, height, width)
                if labels[b][a] == 0 and mask[b][a]
            ]
            for b, a in free:
                labels[b][a] = labels[y][x]
            queue.extend(free)
            if not free:  # it waits for the next mask
                edge.append((y, x))
        queue = edge
    return label.new_tensor(labels).reshape(label.shape)


_expand = define(
    "contour_expand(Tensor masks, Tensor label, int min_area, int count) -> Tensor",
    _expand_meaning,
    lambda masks, label, *_: label.new_empty(label.shape),
)
