"""Focal losses of rows with one label each (https://arxiv.org/abs/1708.02002, Eq. 5)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["SigmoidFocalLoss", "SoftmaxFocalLoss", "sigmoid_focal_loss", "softmax_focal_loss"]

Reduction = Literal["none", "mean", "sum"]


def sigmoid_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Focal loss of C one-against-the-rest classifiers.

    Args:
        input: (N, C) logits, floating.
        target: (N,) int64 class; any value outside 0..C-1, such as C, is background: all C
            classifiers are then negatives.
        gamma: Focusing exponent, >= 0.
        alpha: Weight of the positive entry, in [0, 1]; negatives get ``1 - alpha``.
        weight: (C,) factor of a row by the class of its target; background has 1.
        reduction: "none", "sum", or "mean": the sum divided by N, not by N * C.

    Returns:
        (N, C) for "none", else a scalar; in nats, dtype of ``input``.
    """
    _check(input, target, weight, reduction)
    weight = None if weight is None else weight.to(input.dtype)
    return _reduce(_sigmoid(input, target, weight, gamma, alpha), len(input), reduction)


def softmax_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Focal loss of one classifier of C exclusive classes: ``-alpha (1 - p)^gamma log p``.

    p is the probability of the target after softmax. Its logarithm is floored at that of the
    smallest normal float32, about -87; the gradient goes on below.

    Args:
        input: (N, C) logits, floating.
        target: (N,) int64 class below C; a row with a negative one has no loss, but counts as one
            of the N that "mean" divides by.
        gamma: Focusing exponent, >= 0.
        alpha: Factor of every row.
        weight: (C,) factor of a row by the class of its target.
        reduction: "none", "sum", or "mean": the sum divided by N.

    Returns:
        (N,) for "none", else a scalar; in nats, dtype of ``input``.
    """
    _check(input, target, weight, reduction)
    weight = None if weight is None else weight.to(input.dtype)
    return _reduce(_softmax(input, target, weight, gamma, alpha), len(input), reduction)


class _FocalLoss(nn.Module):
    weight: Tensor | None

    def __init__(
        self,
        gamma: float,
        alpha: float,
        weight: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha
        self.register_buffer("weight", weight)
        self.reduction = reduction

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, alpha={self.alpha}, reduction={self.reduction}"


class SigmoidFocalLoss(_FocalLoss):
    """:func:`sigmoid_focal_loss` with its settings."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return sigmoid_focal_loss(
            input, target, self.gamma, self.alpha, self.weight, self.reduction
        )


class SoftmaxFocalLoss(_FocalLoss):
    """:func:`softmax_focal_loss` with its settings."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return softmax_focal_loss(
            input, target, self.gamma, self.alpha, self.weight, self.reduction
        )


def _check(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> None:
    check_floating("input", input, ("N", "C"))
    if target.dtype != torch.int64 or target.shape != input.shape[:1]:
        raise ValueError(
            f"target must be int64 of shape ({len(input)},), one class for each row of input, "
            f"got {target.dtype} of shape {tuple(target.shape)}"
        )
    if weight is not None and weight.shape != input.shape[1:]:
        raise ValueError(
            f"weight must have shape ({input.shape[1]},), one factor for each class, "
            f"got {tuple(weight.shape)}"
        )
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f'reduction must be "none", "mean" or "sum", got {reduction!r}')
    check_same_device(input=input, target=target)


def _reduce(loss: Tensor, rows: int, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return loss
    return loss.sum() / max(rows, 1) if reduction == "mean" else loss.sum()


def _sigmoid_meaning(
    input: Tensor, target: Tensor, weight: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    x = in_float32(input)
    positive = target[:, None] == torch.arange(input.shape[1], device=input.device)
    z = torch.where(positive, x, -x)
    share = torch.where(positive, alpha, 1 - alpha).to(x.dtype)
    loss = -share * torch.sigmoid(-z) ** gamma * F.logsigmoid(z)
    if weight is not None:
        known = torch.cat((in_float32(weight), x.new_ones(1)))
        classes = input.shape[1]
        inside = (target >= 0) & (target < classes)
        loss = loss * known[torch.where(inside, target, classes)][:, None]
    return loss.to(input.dtype)


_sigmoid = define(
    "sigmoid_focal_loss(Tensor input, Tensor target, Tensor? weight, float gamma, float alpha)"
    " -> Tensor",
    _sigmoid_meaning,
    lambda input, *_: input.new_empty(input.shape),
    gradient=["input"],
    autocast="float32",
)


def _softmax_meaning(
    input: Tensor, target: Tensor, weight: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    counted = target >= 0
    label = target.clamp(min=0)
    log_p = F.log_softmax(in_float32(input), 1).take_along_dim(label[:, None], 1)[:, 0]
    smallest = torch.finfo(torch.float32).tiny
    # Away from 0, where the derivative of a root is infinite.
    q = (-torch.expm1(log_p)).clamp(min=smallest)
    below = (log_p.clamp(min=math.log(smallest)) - log_p).detach()
    loss = -alpha * q**gamma * (log_p + below)
    if weight is not None:
        loss = loss * in_float32(weight)[label]
    return torch.where(counted, loss, 0).to(input.dtype)


_softmax = define(
    "softmax_focal_loss(Tensor input, Tensor target, Tensor? weight, float gamma, float alpha)"
    " -> Tensor",
    _softmax_meaning,
    lambda input, *_: input.new_empty(input.shape[:1]),
    gradient=["input"],
    autocast="float32",
)
