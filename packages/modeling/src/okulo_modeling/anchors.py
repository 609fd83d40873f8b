"""Anchors: the boxes from which dense predictions start."""

import math
from collections.abc import Sequence

import torch
from attrs import field, frozen
from attrs.validators import and_, ge, lt
from torch import Tensor, nn

from okulo_core.structures import Boxes
from okulo_modeling.layers.shape_spec import ShapeSpec

__all__ = ["DefaultAnchorGenerator", "DefaultAnchorGeneratorConfig", "generate_cell_anchors"]


def generate_cell_anchors(
    sizes: Sequence[float] = (32, 64, 128, 256, 512),
    aspect_ratios: Sequence[float] = (0.5, 1, 2),
) -> Tensor:
    """Anchors of one cell, centred at (0, 0).

    Args:
        sizes: Square roots of the areas, in pixels.
        aspect_ratios: height / width.

    Returns:
        (len(sizes) * len(aspect_ratios), 4) XYXY boxes, float32; the ratio changes fastest.
    """
    anchors = []
    for size in sizes:
        for ratio in aspect_ratios:
            width = math.sqrt(size**2 / ratio)
            height = ratio * width
            anchors.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(anchors).reshape(-1, 4)


class DefaultAnchorGenerator(nn.Module):
    """The same anchors at every cell of every feature map.

    Args:
        sizes: One list of sizes (pixels) per level; one list alone serves every level.
        aspect_ratios: Likewise, height / width.
        strides: Stride of each level, in pixels.
        offset: Where in its cell the first anchor's centre lies, in strides; 0 <= offset < 1. The
            published models use 0.
    """

    box_dim = 4

    def __init__(
        self,
        *,
        sizes: Sequence[Sequence[float]] | Sequence[float],
        aspect_ratios: Sequence[Sequence[float]] | Sequence[float],
        strides: Sequence[int],
        offset: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 <= offset < 1:
            raise ValueError(f"offset must be at least 0 and below 1, got {offset}")
        self.strides = tuple(strides)
        self.offset = offset
        self.num_levels = len(self.strides)
        sizes_per_level = _per_level(sizes, self.num_levels, "sizes")
        ratios_per_level = _per_level(aspect_ratios, self.num_levels, "aspect_ratios")
        # Not persistent: they follow from the settings, and checkpoints do without them.
        for i, (size, ratio) in enumerate(zip(sizes_per_level, ratios_per_level, strict=True)):
            self.register_buffer(f"_cell_{i}", generate_cell_anchors(size, ratio), persistent=False)

    @property
    def cell_anchors(self) -> list[Tensor]:
        """One (A, 4) tensor per level."""
        return [self.get_buffer(f"_cell_{i}") for i in range(self.num_levels)]

    @property
    def num_anchors(self) -> list[int]:
        """Anchors per cell, for each level."""
        return [len(cell) for cell in self.cell_anchors]

    num_cell_anchors = num_anchors

    def forward(self, features: Sequence[Tensor]) -> list[Boxes]:
        """Place the anchors on feature maps.

        Args:
            features: One (N, C, H, W) map per level.

        Returns:
            One set of H * W * A boxes per level, in input pixels, for every image alike; the anchor
            of a cell changes fastest, then the column.
        """
        if len(features) != self.num_levels:
            raise ValueError(
                f"the anchor generator has {self.num_levels} levels (strides {self.strides}), "
                f"got {len(features)} feature maps"
            )
        levels = zip(features, self.strides, self.cell_anchors, strict=True)
        return [Boxes(self._grid(feature, stride, cell)) for feature, stride, cell in levels]

    def _grid(self, feature: Tensor, stride: int, cell: Tensor) -> Tensor:
        height, width = feature.shape[-2:]
        start = self.offset * stride
        x = torch.arange(width, dtype=cell.dtype, device=cell.device) * stride + start
        y = torch.arange(height, dtype=cell.dtype, device=cell.device) * stride + start
        y_HW, x_HW = torch.meshgrid(y, x, indexing="ij")
        shifts = torch.stack((x_HW, y_HW, x_HW, y_HW), dim=-1)
        return (shifts[:, :, None] + cell).reshape(-1, 4)


def _per_level(
    values: Sequence[Sequence[float]] | Sequence[float], num_levels: int, name: str
) -> list[Sequence[float]]:
    nested = [v if isinstance(v, Sequence) else None for v in values]
    if all(v is None for v in nested):
        return [values] * num_levels  # type: ignore[list-item]
    lists = [v for v in nested if v]
    if len(lists) != len(nested) or len(lists) not in (1, num_levels):
        raise ValueError(
            f"{name} must be one list of numbers, or one non-empty list for each of {num_levels} "
            f"levels, got {values}"
        )
    return lists * num_levels if len(lists) == 1 else lists


@frozen(kw_only=True)
class DefaultAnchorGeneratorConfig:
    """Settings of :class:`DefaultAnchorGenerator`; the defaults fit an FPN with levels p2 to p6."""

    sizes: tuple[tuple[float, ...], ...] = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    aspect_ratios: tuple[tuple[float, ...], ...] = ((0.5, 1.0, 2.0),)
    offset: float = field(default=0.0, validator=and_(ge(0.0), lt(1.0)))

    def build(self, input_shape: Sequence[ShapeSpec]) -> DefaultAnchorGenerator:
        """Build for levels of these strides."""
        strides = [shape.stride for shape in input_shape]
        if any(stride is None for stride in strides):
            raise ValueError(f"every level needs a stride, got {strides}")
        return DefaultAnchorGenerator(
            sizes=self.sizes,
            aspect_ratios=self.aspect_ratios,
            strides=[stride for stride in strides if stride is not None],
            offset=self.offset,
        )
