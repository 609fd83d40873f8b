"""Maximum pooling of sparse tensors."""

from typing import ClassVar

import torch

from okulo_ops.sparse._conv import Size, per_axis
from okulo_ops.sparse._modules import SparseModule
from okulo_ops.sparse._pairs import Geometry, find_pairs
from okulo_ops.sparse._tensor import SparseConvTensor

__all__ = ["SparseMaxPool2d", "SparseMaxPool3d"]


class _MaxPool(SparseModule):
    ndim: ClassVar[int]

    def __init__(
        self, kernel_size: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1
    ) -> None:
        super().__init__()
        kernel, stride, padding, dilation = (
            per_axis(size, self.ndim) for size in (kernel_size, stride, padding, dilation)
        )
        self.geometry = Geometry(kernel, stride, padding, dilation, (0,) * self.ndim)

    def forward(self, input: SparseConvTensor) -> SparseConvTensor:
        pairs = find_pairs(input.indices, input.spatial_shape, self.geometry, False, False)
        features = input.features
        source, target = (torch.cat(part) for part in zip(*pairs.rows, strict=True))
        empty = features.new_zeros(len(pairs.output_indices), features.shape[1])
        where = target[:, None].expand(-1, features.shape[1])
        pooled = empty.scatter_reduce(0, where, features[source], "amax", include_self=False)
        return SparseConvTensor(
            pooled, pairs.output_indices, pairs.output_shape, input.batch_size, input.indice_dict
        )

    def extra_repr(self) -> str:
        return str(self.geometry)


class SparseMaxPool2d(_MaxPool):
    """Maximum over the occupied places of each window; empty places do not count as 0."""

    ndim = 2


class SparseMaxPool3d(_MaxPool):
    """Maximum over the occupied places of each window; empty places do not count as 0."""

    ndim = 3
