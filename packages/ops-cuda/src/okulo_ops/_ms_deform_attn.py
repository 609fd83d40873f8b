"""Multi-scale deformable attention (Deformable DETR, https://arxiv.org/abs/2010.04159, Eq. 3)."""

import torch.nn.functional as F
from torch import Tensor

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["ms_deform_attn"]


def ms_deform_attn(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int = 64,
) -> Tensor:
    """Sum, for each query and head, the weighted values at P points of each of L levels.

    Values are read bilinearly; a cell stands at its centre, ((x + 0.5) / width,
    (y + 0.5) / height), and cells outside a level are zero.

    Args:
        value: (B, S, M, D) floating, the cells of all levels in row-major order, M heads.
        value_spatial_shapes: (L, 2) int64 (height, width) of each level.
        value_level_start_index: (L,) int64 first cell of each level.
        sampling_locations: (B, Q, M, L, P, 2) floating (x, y), 0 to 1 across a level. They may be
            float32 beside values in float16 or bfloat16, where they would lose their fraction.
        attention_weights: (B, Q, M, L, P) floating.
        im2col_step: Taken for mmcv's sake and without effect: the batch is not divided.

    Returns:
        (B, Q, M * D), dtype of ``value``. The gradient flows to value, locations and weights.

    Raises:
        ValueError: Shapes differ from the above.
        RuntimeError: A level does not lie within the S cells (a failed assertion on a GPU).
    """
    check_floating("value", value, ("B", "S", "M", "D"))
    batch, _, heads, _ = value.shape
    levels = value_level_start_index.numel()
    if value_spatial_shapes.shape != (levels, 2) or value_level_start_index.ndim != 1:
        raise ValueError(
            "value_spatial_shapes must have shape (L, 2) and value_level_start_index (L,), got "
            f"{tuple(value_spatial_shapes.shape)} and {tuple(value_level_start_index.shape)}"
        )
    shape = (batch, "Q", heads, levels, "P", 2)
    check_floating("sampling_locations", sampling_locations, shape)
    check_floating("attention_weights", attention_weights, sampling_locations.shape[:-1])
    check_same_device(
        value=value,
        value_spatial_shapes=value_spatial_shapes,
        value_level_start_index=value_level_start_index,
        sampling_locations=sampling_locations,
        attention_weights=attention_weights,
    )
    return _attend(
        value,
        value_spatial_shapes.long(),
        value_level_start_index.long(),
        sampling_locations,
        attention_weights,
    )


def _meaning(
    value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    x = in_float32(value).permute(0, 2, 3, 1).flatten(0, 1)  # (B * M, D, S)
    grid = (2 * locations.to(x.dtype) - 1).transpose(1, 2).flatten(0, 1)  # (B * M, Q, L, P, 2)
    weight = weights.to(x.dtype).transpose(1, 2).flatten(0, 1)  # (B * M, Q, L, P)
    out = x.new_zeros(x.shape[0], x.shape[1], grid.shape[1])
    for level, ((height, width), start) in enumerate(
        zip(shapes.tolist(), starts.tolist(), strict=True)
    ):
        if min(height, width, start) < 0 or start + height * width > x.shape[2]:
            raise RuntimeError(
                f"ms_deform_attn: level {level} of size {height} x {width} from cell {start} does "
                f"not fit in a value of {x.shape[2]} cells"
            )
        if height * width == 0:
            continue
        plane = x[:, :, start : start + height * width].unflatten(2, (height, width))
        sampled = F.grid_sample(plane, grid[:, :, level], align_corners=False)
        out = out + (sampled * weight[:, None, :, level]).sum(-1)
    return out.unflatten(0, value.shape[::2]).permute(0, 3, 1, 2).flatten(2).to(value.dtype)


_attend = define(
    "ms_deform_attn(Tensor value, Tensor shapes, Tensor starts, Tensor locations, Tensor weights)"
    " -> Tensor",
    _meaning,
    lambda value, _shapes, _starts, locations, _weights: value.new_empty(
        (value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])
    ),
    gradient=["value", "locations", "weights"],
)
