"""ROIAlign of rotated boxes with mmcv's arguments and angles."""

from torch import Tensor, nn

from okulo_ops._roi_align_rotated import pool_rotated
from okulo_ops.mmcv._names import also_called

__all__ = ["roi_align_rotated", "RoIAlignRotated"]


@also_called(features="input", out_size="output_size", sample_num="sampling_ratio")
def roi_align_rotated(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    clockwise: bool = False,
) -> Tensor:
    """Pool each rotated box of a feature map into a grid of fixed size.

    Like :func:`okulo_ops.roi_align_rotated`, except for what follows. ``features``, ``out_size``
    and ``sample_num`` are accepted as names of ``input``, ``output_size``, ``sampling_ratio``.

    Args:
        rois: (K, 6) rows (index into the batch, cx, cy, w, h, angle); the angle in radians.
        aligned: Subtract the half pixel between boxes and features. Without it boxes are enlarged
            to at least 1 x 1 cells.
        clockwise: Whether positive angles turn clockwise on the screen, as those of mmcv's
            ``box_iou_rotated`` do.
    """
    unit = -1.0 if clockwise else 1.0
    return pool_rotated(input, rois, unit, output_size, spatial_scale, sampling_ratio, aligned)


class RoIAlignRotated(nn.Module):
    """:func:`roi_align_rotated` with its settings."""

    @also_called(out_size="output_size", sample_num="sampling_ratio")
    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int = 0,
        aligned: bool = True,
        clockwise: bool = False,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.clockwise = clockwise

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return roi_align_rotated(  # type: ignore[no-any-return]
            input,
            rois,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
            self.clockwise,
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}, "
            f"clockwise={self.clockwise}"
        )
