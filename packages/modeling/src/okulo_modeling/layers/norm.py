"""Normalisation layers, chosen by name, and batch normalisation with constant statistics."""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FrozenBatchNorm2d", "Norm", "get_norm"]

Norm = Literal["", "BN", "SyncBN", "FrozenBN", "GN"]


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics and affine values are constants (buffers).

    A fresh layer is the identity. ``train()`` and optimisers do not touch it. ``Conv2d`` folds it
    into its weights instead of calling it.
    """

    _version = 3
    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features) - eps)
        self.register_buffer("num_batches_tracked", None)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Two (C,) tensors such that the layer is ``x * scale + shift``."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W); the result has the dtype of ``x``."""
        if x.requires_grad:
            # Arithmetic by hand keeps only the scale for backward, not the whole input.
            scale, shift = self.scale_and_shift()
            return x * scale.to(x.dtype)[:, None, None] + shift.to(x.dtype)[:, None, None]
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, eps=self.eps
        )

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if (local_metadata.get("version") or 0) < 2:
            # Files converted from Caffe2 hold only weight and bias.
            state_dict.setdefault(prefix + "running_mean", torch.zeros_like(self.running_mean))
            state_dict.setdefault(prefix + "running_var", torch.ones_like(self.running_var))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"

    @classmethod
    def convert_frozen_batchnorm(cls, module: nn.Module) -> nn.Module:
        """Freeze every BatchNorm2d and SyncBatchNorm below ``module``.

        Returns:
            The module, changed in place; a frozen copy if it is itself a batch normalisation.
        """
        return _replace(module, (nn.BatchNorm2d, nn.SyncBatchNorm), cls._frozen)

    @classmethod
    def convert_frozenbatchnorm2d_to_batchnorm2d(cls, module: nn.Module) -> nn.Module:
        """The reverse of :meth:`convert_frozen_batchnorm`: trainable layers with these values."""
        return _replace(module, (cls,), cls._thawed)

    @classmethod
    def _frozen(cls, norm: Any) -> nn.Module:
        frozen = cls(norm.num_features, norm.eps).to(norm.running_mean.device)
        if norm.affine:
            frozen.weight = norm.weight.detach().clone()
            frozen.bias = norm.bias.detach().clone()
        frozen.running_mean = norm.running_mean
        frozen.running_var = norm.running_var
        frozen.num_batches_tracked = norm.num_batches_tracked
        return frozen

    @staticmethod
    def _thawed(norm: Any) -> nn.Module:
        thawed = nn.BatchNorm2d(norm.num_features, norm.eps).to(norm.weight.device)
        with torch.no_grad():
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(thawed, name).copy_(getattr(norm, name))
        return thawed


def _replace(
    module: nn.Module, kinds: tuple[type, ...], convert: Callable[[Any], nn.Module]
) -> nn.Module:
    if isinstance(module, kinds):
        return convert(module)
    for name, child in module.named_children():
        replaced = _replace(child, kinds, convert)
        if replaced is not child:
            setattr(module, name, replaced)
    return module


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": lambda channels: nn.GroupNorm(32, channels),
}


def get_norm(norm: str | Callable[[int], nn.Module] | None, out_channels: int) -> nn.Module | None:
    """Build the normalisation called ``norm`` for ``out_channels`` channels.

    Args:
        norm: ``"BN"``, ``"SyncBN"``, ``"FrozenBN"``, ``"GN"`` (32 groups), a function of the
            number of channels, or ``""`` / None for no normalisation.
        out_channels: Channels of the tensors to normalise.
    """
    if not norm:
        return None
    if not isinstance(norm, str):
        return norm(out_channels)
    if norm not in _NORMS:
        raise ValueError(f"norm must be one of {['', *_NORMS]} or a function, got {norm!r}")
    return _NORMS[norm](out_channels)
