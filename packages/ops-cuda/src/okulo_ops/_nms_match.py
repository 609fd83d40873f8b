"""Which boxes each kept box suppresses."""

import torch
from torch import Tensor

from okulo_ops._arrays import Values, as_tensor, like
from okulo_ops._checks import check_boxes
from okulo_ops._nms import owners
from okulo_ops._operator import define

__all__ = ["nms_match"]


def nms_match(dets: Values, iou_threshold: float) -> list[Values]:
    """Group boxes by the kept box that suppresses them.

    Boxes are taken by decreasing score, equal scores by index; each one that is still free founds a
    group and takes in all free ones whose IoU with it is at least the threshold.

    Args:
        dets: (N, 5) floating rows (x0, y0, x1, y1, score), a tensor or a NumPy array.
        iou_threshold: In [0, 1]; equality suppresses, unlike in :func:`okulo_ops.nms`.

    Returns:
        The groups by decreasing score of their founders, each as int64 indices by decreasing
        score, the founder first; none if N = 0. Tensors or arrays as given.
    """
    rows = as_tensor(dets)
    check_boxes("dets", rows, columns=5)
    order = rows[:, 4].argsort(descending=True, stable=True)
    owner = _nms_match(rows[order, :4], iou_threshold)
    by_group = owner.argsort(stable=True)
    sizes = owner[by_group].unique_consecutive(return_counts=True)[1].tolist()
    groups = order[by_group].split(sizes) if sizes else ()
    return [like(dets, group) for group in groups]


def _meaning(boxes: Tensor, iou_threshold: float) -> Tensor:
    return owners(boxes, None, lambda iou: iou >= iou_threshold)


_nms_match = define(
    "nms_match(Tensor boxes, float iou_threshold) -> Tensor",
    _meaning,
    lambda boxes, _: boxes.new_empty(boxes.shape[0], dtype=torch.int64),
)
