"""ROIAlign: bilinear pooling of boxes (https://arxiv.org/abs/1703.06870, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_boxes, check_same_device, in_float32

__all__ = ["roi_align", "ROIAlign", "RoIAlign"]


def roi_align(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Pool each box of a feature map into a grid of fixed size.

    Every bin is the mean of bilinear samples; the feature at index i stands at i + 0.5.

    Args:
        input: (N, C, H, W) floating.
        boxes: (K, 5) rows (index into the batch, x0, y0, x1, y1) in pixels of the image, or one
            (L, 4) tensor for each of the N images.
        output_size: Bins, as (height, width) or one number for both.
        spatial_scale: Cells of the feature map for a pixel of the image.
        sampling_ratio: Samples for a bin and axis; 0 or less takes ceil(box size / bins).
        aligned: True subtracts the half cell between the two frames. False is the older rule,
            shifted by half a cell, with boxes enlarged to at least 1 x 1 cells.

    Returns:
        (K, C, height, width), dtype of ``input``; float16 and bfloat16 are computed in float32. The
        gradient flows to ``input`` only.

    Raises:
        ValueError: Shapes differ from the above, or a box names an image outside the batch (checked
            on the CPU; a GPU would have to wait for it).
    """
    if not isinstance(input, Tensor) or input.ndim != 4:
        shape = tuple(input.shape) if isinstance(input, Tensor) else type(input).__name__
        raise ValueError(f"input must have shape (N, C, H, W), got {shape}")
    if not input.is_floating_point():
        raise TypeError(f"input must be floating point, got {input.dtype}; convert with .float()")
    rois = boxes if isinstance(boxes, Tensor) else _with_image_index(boxes, input)
    check_boxes("boxes", rois, columns=5)
    check_same_device(input=input, boxes=rois)
    _check_image_index(rois, len(input))
    from torchvision.ops import roi_align as torchvision_roi_align  # late: it takes a second

    features = in_float32(input)
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    pooled = torchvision_roi_align(
        features, rois.to(features.dtype), size, spatial_scale, sampling_ratio, aligned
    )
    return pooled.to(input.dtype)


class ROIAlign(nn.Module):
    """:func:`roi_align` with its settings; here ``aligned`` is True unless said otherwise."""

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool = True,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool ``rois``, (K, 5) as in :func:`roi_align`; a quantised ``input`` is dequantised."""
        if input.is_quantized:
            input = input.dequantize()
        check_boxes("rois", rois, columns=5)
        return roi_align(
            input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}"
        )


RoIAlign = ROIAlign


def _with_image_index(boxes: Sequence[Tensor], input: Tensor) -> Tensor:
    if len(boxes) != len(input):
        raise ValueError(
            f"boxes must hold one (L, 4) tensor for each of the {len(input)} images, "
            f"got {len(boxes)}"
        )
    for index, each in enumerate(boxes):
        check_boxes(f"boxes[{index}]", each)
    if len(boxes) == 0:
        return input.new_zeros(0, 5)
    rows = [torch.cat((torch.full_like(b[:, :1], i), b), dim=1) for i, b in enumerate(boxes)]
    return torch.cat(rows)


def _check_image_index(rois: Tensor, images: int) -> None:
    if rois.device.type != "cpu" or torch.compiler.is_compiling() or len(rois) == 0:
        return
    low, high = rois[:, 0].aminmax()
    if not (low >= 0 and high < images):
        raise ValueError(
            f"column 0 of boxes must index one of the {images} images, "
            f"got values from {low.item():g} to {high.item():g}"
        )
