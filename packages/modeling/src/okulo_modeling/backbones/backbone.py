"""What a detector expects of the network that turns images into feature maps."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from okulo_modeling.layers.shape_spec import ShapeSpec

__all__ = ["Backbone"]


class Backbone(nn.Module, ABC):
    """Interface: images in, named feature maps out."""

    @abstractmethod
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (N, C, H, W) images to named (N, C', H / stride, W / stride) features."""

    @abstractmethod
    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of every feature that :meth:`forward` returns, in that order."""

    @property
    def size_divisibility(self) -> int:
        """H and W must be multiples of this; 0 stands for no requirement."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """Further wishes for padding, as ``ImageList.from_tensors`` understands them."""
        return {}
