"""RoIPool as mmcv defines it: of boxes as they are, not rounded to cells."""

from torch import Tensor, nn

from okulo_ops._roi_pool import pool_cells

__all__ = ["RoIPool", "roi_pool"]


def roi_pool(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """Maximum over the cells of each bin of [x0, x1 + 1) times the scale.

    Arguments and result are those of :func:`okulo_ops.roi_pool`, which rounds the corners first. A
    box whose width or height is not positive has no cells: it is zero and gives no gradient.
    """
    return pool_cells(input, rois, output_size, spatial_scale, rounded=False)


class RoIPool(nn.Module):
    """:func:`roi_pool` with its settings."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"
