"""When torchvision's kernels run instead of ours: on a GPU, where ours are not measured yet."""

from types import ModuleType

import torch
from torch import Tensor

__all__ = ["torchvision_ops"]


def torchvision_ops(*tensors: Tensor | None) -> ModuleType | None:
    """``torchvision.ops`` if it is to run on these tensors, else None; absent tensors do not count.

    It runs on GPU tensors of one dtype, float32 or float64, which is what all its kernels take.
    Our kernels run in deterministic mode and under autocast, for which its have no rule or raise,
    and where torchvision does not import beside the PyTorch at hand.
    """
    present = [tensor for tensor in tensors if tensor is not None]
    if not all(tensor.is_cuda for tensor in present):
        return None
    dtypes = {tensor.dtype for tensor in present}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        return None
    if torch.is_autocast_enabled("cuda") or torch.are_deterministic_algorithms_enabled():
        return None
    try:
        from torchvision import ops  # late: it takes a second
    except (ImportError, OSError, RuntimeError):  # RuntimeError: built for another PyTorch
        return None
    return ops  # type: ignore[no-any-return]
