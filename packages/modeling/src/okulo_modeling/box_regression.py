"""Coding of boxes relative to other boxes, and the losses on such codes."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from okulo_core.structures import Boxes
from okulo_modeling.layers.losses import ciou_loss, diou_loss, giou_loss, smooth_l1_loss

__all__ = [
    "DEFAULT_SCALE_CLAMP",
    "Box2BoxTransform",
    "BoxRegLossType",
    "box_regression_loss",
    "dense_box_regression_loss",
]

# A side grows by at most 1000/16 in one step: beyond, exp() of an untrained output overflows.
DEFAULT_SCALE_CLAMP = math.log(1000.0 / 16)

BoxRegLossType = Literal["smooth_l1", "giou", "diou", "ciou"]


class Box2BoxTransform:
    """Deltas (dx, dy, dw, dh) between boxes (R-CNN, https://arxiv.org/abs/1311.2524, Eq. 1-9).

    ``dx`` and ``dy`` are shifts of the centre in units of the source's sides, ``dw`` and ``dh``
    logarithms of the sides' ratios (nats); each is multiplied by its weight.

    Args:
        weights: (wx, wy, ww, wh); larger ones make the targets and their loss larger.
        scale_clamp: Upper limit of dw and dh after division by their weights.
    """

    def __init__(
        self,
        weights: tuple[float, float, float, float],
        scale_clamp: float = DEFAULT_SCALE_CLAMP,
    ) -> None:
        self.weights = tuple(weights)
        self.scale_clamp = scale_clamp

    def get_deltas(self, src_boxes: Tensor, target_boxes: Tensor) -> Tensor:
        """Deltas that turn ``src_boxes``, of positive sides, into ``target_boxes``; all (N, 4)."""
        src_center, src_size = _center_and_size(src_boxes)
        target_center, target_size = _center_and_size(target_boxes)
        if not bool((src_size[..., 0] > 0).all()):
            bad = src_boxes[src_size[..., 0] <= 0][0].tolist()
            raise ValueError(f"source boxes must have positive width, got {bad}; filter them first")
        weights = src_boxes.new_tensor(self.weights)
        shift = (target_center - src_center) / src_size
        return torch.cat((shift, torch.log(target_size / src_size)), dim=-1) * weights

    def apply_deltas(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """Move ``boxes`` by ``deltas``.

        Args:
            deltas: (..., k * 4), any floating dtype; k predictions for each box.
            boxes: (..., 4).

        Returns:
            Float32 boxes (float64 for float64 deltas) with the shape of ``deltas``.
        """
        deltas = deltas if deltas.dtype == torch.float64 else deltas.float()
        center, size = _center_and_size(boxes.to(deltas.dtype).unsqueeze(-2))
        deltas_k4 = deltas.unflatten(-1, (-1, 4)) / deltas.new_tensor(self.weights)
        shift, log_ratio = deltas_k4.split(2, dim=-1)
        moved = center + shift * size
        half = log_ratio.clamp(max=self.scale_clamp).exp() * size * 0.5
        return torch.cat((moved - half, moved + half), dim=-1).flatten(-2)


def _center_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    top_left, bottom_right = boxes.split(2, dim=-1)
    size = bottom_right - top_left
    return top_left + 0.5 * size, size


def box_regression_loss(
    pred_deltas: Tensor,
    src_boxes: Tensor,
    gt_boxes: Tensor,
    transform: Box2BoxTransform,
    *,
    box_reg_loss_type: str = "smooth_l1",
    smooth_l1_beta: float = 0.0,
) -> Tensor:
    """Sum of the losses of P positive predictions.

    Args:
        pred_deltas: (P, 4).
        src_boxes: (P, 4) boxes from which the deltas start.
        gt_boxes: (P, 4) truth.
        transform: How boxes are coded.
        box_reg_loss_type: ``"smooth_l1"`` compares deltas; ``"giou"``, ``"diou"`` and ``"ciou"``
            compare decoded boxes.
        smooth_l1_beta: Where smooth L1 turns from square to linear; 0 is L1.
    """
    if box_reg_loss_type == "smooth_l1":
        target = transform.get_deltas(src_boxes, gt_boxes)
        return smooth_l1_loss(pred_deltas.float(), target, smooth_l1_beta, reduction="sum")
    losses = {"giou": giou_loss, "diou": diou_loss, "ciou": ciou_loss}
    if box_reg_loss_type not in losses:
        raise ValueError(
            f"box_reg_loss_type must be one of {['smooth_l1', *losses]}, got {box_reg_loss_type!r}"
        )
    pred_boxes = transform.apply_deltas(pred_deltas, src_boxes)
    return losses[box_reg_loss_type](pred_boxes, gt_boxes, reduction="sum")


def dense_box_regression_loss(
    anchors: Sequence[Boxes | Tensor],
    box2box_transform: Box2BoxTransform,
    pred_anchor_deltas: Sequence[Tensor],
    gt_boxes: Sequence[Tensor],
    fg_mask: Tensor,
    box_reg_loss_type: str = "smooth_l1",
    smooth_l1_beta: float = 0.0,
) -> Tensor:
    """Sum of the box losses of foreground anchors.

    Args:
        anchors: One set of boxes per level, R in all.
        box2box_transform: How boxes are coded.
        pred_anchor_deltas: One (N, HWA, 4) tensor per level.
        gt_boxes: For each of N images the (R, 4) truth that matches its anchors.
        fg_mask: (N, R), bool.
        box_reg_loss_type: See :func:`box_regression_loss`.
        smooth_l1_beta: Likewise.
    """
    anchors_R4 = torch.cat([a.tensor if isinstance(a, Boxes) else a for a in anchors])
    image, row = fg_mask.nonzero(as_tuple=True)
    return box_regression_loss(
        torch.cat(list(pred_anchor_deltas), dim=1)[image, row],
        anchors_R4[row],
        torch.stack(list(gt_boxes))[image, row],
        box2box_transform,
        box_reg_loss_type=box_reg_loss_type,
        smooth_l1_beta=smooth_l1_beta,
    )
