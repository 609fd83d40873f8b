"""The Charbonnier loss: L1 far from zero, smooth at zero."""

import torch
from attrs import field, frozen
from attrs.validators import gt
from torch import Tensor, nn

__all__ = ["CharbonnierLoss", "CharbonnierLossConfig"]


class CharbonnierLoss(nn.Module):
    """``sqrt(d^2 + epsilon^2) - epsilon`` of each difference ``d``, averaged.

    P. Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed
    imaging", ICIP 1994; less ``epsilon``, so that equal values cost nothing.

    Args:
        epsilon: Half width of the smooth part, in the unit of the values; > 0.
    """

    def __init__(self, *, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare two tensors of one shape.

        Args:
            prediction: Any shape, floating point.
            target: Same shape.

        Returns:
            A scalar >= 0 in the unit of the values; 0 for empty tensors.

        Raises:
            ValueError: The shapes differ.
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction and target must have one shape, got {tuple(prediction.shape)} "
                f"and {tuple(target.shape)}"
            )
        loss = torch.sqrt((prediction - target) ** 2 + self.epsilon**2) - self.epsilon
        return loss.sum() / max(loss.numel(), 1)


@frozen(kw_only=True)
class CharbonnierLossConfig:
    """Settings of :class:`CharbonnierLoss`."""

    epsilon: float = field(default=1e-3, validator=gt(0.0))

    def build(self) -> CharbonnierLoss:
        return CharbonnierLoss(epsilon=self.epsilon)
