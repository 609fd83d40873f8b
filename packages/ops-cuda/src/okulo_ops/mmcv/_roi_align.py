"""ROIAlign as mmcv calls it: adaptive sampling and aligned unless said otherwise, and a maximum."""

from typing import Literal

from torch import Tensor, nn

from okulo_ops._roi_align import roi_align as _roi_align
from okulo_ops.mmcv._names import also_called

__all__ = ["RoIAlign", "roi_align"]


def roi_align(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: Literal["avg", "max"] = "avg",
    aligned: bool = True,
) -> Tensor:
    """:func:`okulo_ops.roi_align` with the arguments of mmcv; ``rois`` are (K, 5) rows."""
    return _roi_align(input, rois, output_size, spatial_scale, sampling_ratio, aligned, pool_mode)


class RoIAlign(nn.Module):
    """:func:`roi_align` with its settings.

    ``use_torchvision`` is taken for compatibility; the numbers are the same either way.
    ``output_size`` and ``sampling_ratio`` are also called ``out_size`` and ``sample_num``.
    """

    @also_called(out_size="output_size", sample_num="sampling_ratio")
    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: Literal["avg", "max"] = "avg",
        aligned: bool = True,
        use_torchvision: bool = False,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.pool_mode = pool_mode
        self.aligned = aligned
        self.use_torchvision = use_torchvision

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool ``rois``, (K, 5) as in :func:`roi_align`."""
        return roi_align(
            input,
            rois,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.pool_mode,
            self.aligned,
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, pool_mode={self.pool_mode}, "
            f"aligned={self.aligned}, use_torchvision={self.use_torchvision}"
        )
