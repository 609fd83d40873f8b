"""Distance of each point to the nearest one of another set, both ways."""

import torch
from torch import Tensor

from okulo_ops._checks import check_floating, in_float32
from okulo_ops._point_neighbors import nearest

__all__ = ["chamfer_distance"]


def chamfer_distance(xyz1: Tensor, xyz2: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Squared distance to the nearest point of the other set.

    Args:
        xyz1: (B, N, D) floating, N >= 1; D is 2 or whatever the points have.
        xyz2: (B, M, D), M >= 1.

    Returns:
        Squared distances (B, N) from the first set to the second and (B, M) from the second to
        the first, in the dtype of the inputs, to which the gradient flows; and the indices
        (B, N) and (B, M) int64 of the points they are to, the lowest of equally near ones.
    """
    check_floating("xyz1", xyz1, ("B", "N", "D"))
    check_floating("xyz2", xyz2, ("B", "M", xyz1.shape[2]))
    there, back = nearest(xyz2, xyz1, 1)[0][..., 0], nearest(xyz1, xyz2, 1)[0][..., 0]
    return _squared(xyz1, xyz2, there), _squared(xyz2, xyz1, back), there, back


def _squared(points: Tensor, others: Tensor, index: Tensor) -> Tensor:
    nearest_ones = others.gather(1, index[..., None].expand(-1, -1, others.shape[2]))
    dtype = torch.promote_types(points.dtype, others.dtype)
    return (in_float32(points) - in_float32(nearest_ones)).square().sum(-1).to(dtype)
