"""Batch normalisation over the batch of all processes (https://arxiv.org/abs/1711.07240)."""

from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from okulo_ops._checks import in_float32

__all__ = ["SyncBatchNorm"]


class SyncBatchNorm(nn.Module):
    """Batch normalisation whose mean and variance are those of all processes' inputs.

    Without an initialised process group it is ordinary batch normalisation. In training every
    process of the group must call it equally often, with an empty batch if it has nothing else.
    Weight starts at 1 and bias at 0, as in torch.nn.

    Args:
        num_features: C of the input (N, C, ...).
        eps: Added to the variance.
        momentum: Share of the new statistics in the running ones.
        affine: Whether to have weight and bias.
        track_running_stats: Whether to keep running statistics for evaluation.
        group: Process group; None for all processes.
        stats_mode: "default" gives every process that has a batch the same part in the mean and
            the mean square, however large its batch is; "N" gives every element the same part.
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        group: dist.ProcessGroup | None = None,
        stats_mode: Literal["default", "N"] = "default",
    ) -> None:
        super().__init__()
        if stats_mode not in ("default", "N"):
            raise ValueError(f'stats_mode must be "default" or "N", got {stats_mode!r}')
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.group = group
        self.stats_mode = stats_mode
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        statistics = torch.zeros, torch.ones
        for name, start in zip(("running_mean", "running_var"), statistics, strict=True):
            self.register_buffer(name, start(num_features) if track_running_stats else None)
        tracked = torch.tensor(0) if track_running_stats else None
        self.register_buffer("num_batches_tracked", tracked)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"input must be (N, {self.num_features}, ...), got {tuple(input.shape)}"
            )
        if not self.training and self.running_mean is not None and self.running_var is not None:
            mean, variance = self.running_mean, self.running_var
        else:
            mean, variance = self._batch_statistics(in_float32(input))
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        columns = (1, -1) + (1,) * (input.ndim - 2)
        return (input * scale.view(columns) + shift.view(columns)).to(input.dtype)

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        channels = x.movedim(1, 0).flatten(1)
        count = channels.new_tensor(channels.shape[1])
        # The mean of every process, then variances about the common mean: no cancellation.
        part = count if self.stats_mode == "N" else (count > 0).to(count)
        own_mean = channels.sum(dim=1) / count.clamp(min=1)
        sums = _sum_over_processes(
            torch.cat((own_mean * part, part.view(1), count.view(1))), self.group
        )
        parts, elements = sums[-2].clamp(min=1), sums[-1].detach()
        mean = sums[:-2] / parts
        own_square = (channels - mean[:, None]).square().sum(dim=1) / count.clamp(min=1)
        variance = _sum_over_processes(own_square * part, self.group) / parts
        if self.training:
            self._track(mean.detach(), variance.detach(), elements)
        return mean, variance

    def _track(self, mean: Tensor, variance: Tensor, elements: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        # Without any element there is nothing to learn from.
        momentum = self.momentum * (elements > 0)
        unbiased = variance * (elements / (elements - 1).clamp(min=1))
        self.running_mean += momentum * (mean - self.running_mean)
        self.running_var += momentum * (unbiased - self.running_var)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.weight is not None}, stats_mode={self.stats_mode}"
        )


def _sum_over_processes(tensor: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size(group) > 1):
        return tensor
    return _AllReduce.apply(tensor, group)  # type: ignore[no-any-return,no-untyped-call]


class _AllReduce(torch.autograd.Function):
    """Sum over processes; every process's loss counts, so the gradient is a sum as well."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        total = tensor.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None
