"""Features at the occupied places of a grid."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from okulo_ops._checks import check_floating, check_same_device
from okulo_ops.sparse._pairs import Pairs

__all__ = ["SparseConvTensor", "scatter_nd"]


class SparseConvTensor:
    """A batch of grids of which most places are empty.

    Args:
        features: (N, C) floating.
        indices: (N, 1 + D) integer: image of the batch, then the place, (z, y, x) or (y, x). No
            place occurs twice.
        spatial_shape: D sizes of the grid, in the same order.
        batch_size: How many images.
        indice_dict: Pairs that convolutions have found, by their ``indice_key``.
    """

    def __init__(
        self,
        features: Tensor,
        indices: Tensor,
        spatial_shape: Sequence[int],
        batch_size: int,
        indice_dict: dict[str, Pairs] | None = None,
    ) -> None:
        check_floating("features", features, ("N", "C"))
        check_same_device(features=features, indices=indices)
        expected = (len(features), 1 + len(spatial_shape))
        if indices.is_floating_point() or tuple(indices.shape) != expected:
            raise ValueError(
                f"indices must be integers of shape {expected}, the image and the place of each "
                f"row of features, got {indices.dtype} of shape {tuple(indices.shape)}"
            )
        self.features = features
        self.indices = indices
        self.spatial_shape = tuple(int(size) for size in spatial_shape)
        self.batch_size = batch_size
        self.indice_dict = {} if indice_dict is None else indice_dict

    def replace(self, features: Tensor) -> "SparseConvTensor":
        """Other features at the same places."""
        return SparseConvTensor(
            features, self.indices, self.spatial_shape, self.batch_size, self.indice_dict
        )

    def find_indice_pair(self, key: str | None) -> Pairs | None:
        """The pairs that a convolution with this ``indice_key`` has found, if any."""
        return None if key is None else self.indice_dict.get(key)

    @property
    def spatial_size(self) -> int:
        """Places of one image, empty ones included."""
        return math.prod(self.spatial_shape)

    @property
    def sparity(self) -> float:
        """Share of all places that is occupied; the name is mmcv's."""
        return len(self.indices) / max(1, self.spatial_size * self.batch_size)

    def dense(self, channels_first: bool = True) -> Tensor:
        """(B, C, *spatial_shape), or (B, *spatial_shape, C); 0 in empty places."""
        shape = (self.batch_size, *self.spatial_shape, self.features.shape[1])
        result = scatter_nd(self.indices, self.features, shape)
        return result.movedim(-1, 1).contiguous() if channels_first else result


def scatter_nd(indices: Tensor, updates: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros of ``shape`` with rows of ``updates`` at ``indices``, which must be distinct.

    Args:
        indices: (..., K) integer: places along the first K dimensions of the result.
        updates: (..., *shape[K:]).
        shape: Of the result.
    """
    where = indices.long().reshape(-1, indices.shape[-1]).unbind(-1)
    rest = tuple(shape[indices.shape[-1] :])
    values = updates.reshape(-1, *rest)
    return torch.zeros(tuple(shape), dtype=updates.dtype, device=updates.device).index_put(
        where, values
    )
