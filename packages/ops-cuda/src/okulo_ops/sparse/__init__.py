"""Convolution over the occupied places of a grid (https://arxiv.org/abs/1711.10275).

A sparse tensor is a list of places and their features; a convolution finds which input meets which
output under each element of its kernel, and adds up products of features and weights. It is plain
PyTorch on any device, differentiable by features and weights.
"""

from okulo_ops.sparse._conv import (
    SparseConv2d,
    SparseConv3d,
    SparseConvTranspose2d,
    SparseConvTranspose3d,
    SparseInverseConv2d,
    SparseInverseConv3d,
    SubMConv2d,
    SubMConv3d,
)
from okulo_ops.sparse._modules import SparseModule, SparseSequential
from okulo_ops.sparse._pool import SparseMaxPool2d, SparseMaxPool3d
from okulo_ops.sparse._tensor import SparseConvTensor, scatter_nd

__all__ = [
    "SparseConv2d",
    "SparseConv3d",
    "SparseConvTensor",
    "SparseConvTranspose2d",
    "SparseConvTranspose3d",
    "SparseInverseConv2d",
    "SparseInverseConv3d",
    "SparseMaxPool2d",
    "SparseMaxPool3d",
    "SparseModule",
    "SparseSequential",
    "SubMConv2d",
    "SubMConv3d",
    "scatter_nd",
]
