"""The attention layer of Deformable DETR (https://arxiv.org/abs/2010.04159, section 4.1)."""

import math
import warnings

import torch
from torch import Tensor, nn

from okulo_ops._ms_deform_attn import ms_deform_attn

__all__ = ["MultiScaleDeformableAttention"]


class MultiScaleDeformableAttention(nn.Module):
    """Each query reads a few learnt points of every level around its reference.

    Args:
        embed_dims: Channels E of queries and values.
        num_heads: Heads M; must divide E.
        num_levels: Levels L of the value.
        num_points: Points P a head reads of a level.
        im2col_step: Without effect, see :func:`ms_deform_attn`.
        dropout: Probability at the output.
        batch_first: (B, N, E) inputs; False is (N, B, E).
        norm_cfg, init_cfg: Taken for mmcv's sake and without effect.
        value_proj_ratio: Width of the projected value as a fraction of E.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        im2col_step: int = 64,
        dropout: float = 0.1,
        batch_first: bool = False,
        norm_cfg: object = None,
        init_cfg: object = None,
        value_proj_ratio: float = 1.0,
    ) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(
                f"embed_dims must be divisible by num_heads, got {embed_dims} and {num_heads}"
            )
        if (width := embed_dims // num_heads) & (width - 1):
            warnings.warn(
                f"embed_dims // num_heads is {width}; a power of two is faster", stacklevel=2
            )
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_points = num_points
        self.im2col_step = im2col_step
        self.batch_first = batch_first
        points = num_heads * num_levels * num_points
        value_dims = int(embed_dims * value_proj_ratio)
        self.dropout = nn.Dropout(dropout)
        self.sampling_offsets = nn.Linear(embed_dims, 2 * points)
        self.attention_weights = nn.Linear(embed_dims, points)
        self.value_proj = nn.Linear(embed_dims, value_dims)
        self.output_proj = nn.Linear(value_dims, embed_dims)
        self.init_weights()

    def init_weights(self) -> None:
        """Point p of head i starts at p + 1 cells from the reference, in direction 2 pi i / M."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1)
        offsets = direction[:, None, None] * steps[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.num_levels, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        level_start_index: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Attend; shapes are those of ``batch_first``.

        Args:
            query: (B, Q, E).
            key: Ignored; so is every further keyword.
            value: (B, S, E); ``query`` if None.
            identity: (B, Q, E) added to the result; ``query`` if None.
            query_pos: (B, Q, E) added to the query for the offsets and weights.
            key_padding_mask: (B, S) bool, True where the projected value is set to zero.
            reference_points: (B, Q, L, 2) points (x, y) or (B, Q, L, 4) boxes
                (cx, cy, width, height), 0 to 1 across the level. Offsets are in cells around a
                point, and in halves of the box divided by P around a box.
            spatial_shapes: (L, 2) int64 (height, width).
            level_start_index: (L,) int64.

        Returns:
            (B, Q, E).
        """
        if reference_points is None or spatial_shapes is None or level_start_index is None:
            raise ValueError(
                "reference_points, spatial_shapes and level_start_index must be given, got None"
            )
        identity = query if identity is None else identity
        value = query if value is None else value
        query = query if query_pos is None else query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        _check_levels(value, spatial_shapes)
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        output = self.output_proj(
            ms_deform_attn(
                value.unflatten(-1, (self.num_heads, -1)),
                spatial_shapes,
                level_start_index,
                self._locations(query, reference_points, spatial_shapes),
                self._weights(query),
            )
        )
        if not self.batch_first:
            output = output.transpose(0, 1)
        return self.dropout(output) + identity  # type: ignore[no-any-return]

    def _locations(self, query: Tensor, reference: Tensor, shapes: Tensor) -> Tensor:
        shape = (self.num_heads, self.num_levels, self.num_points, 2)
        offsets = self.sampling_offsets(query).unflatten(-1, shape)
        around = reference[:, :, None, :, None]
        if reference.shape[-1] == 2:
            return around + offsets / shapes.flip(-1)[:, None]  # type: ignore[no-any-return]
        if reference.shape[-1] == 4:
            return around[..., :2] + offsets / self.num_points * around[..., 2:] * 0.5  # type: ignore[no-any-return]
        raise ValueError(
            "reference_points must have shape (B, Q, L, 2) or (B, Q, L, 4), "
            f"got {tuple(reference.shape)}"
        )

    def _weights(self, query: Tensor) -> Tensor:
        logits = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        return logits.softmax(-1).unflatten(-1, (self.num_levels, self.num_points))  # type: ignore[no-any-return]


def _check_levels(value: Tensor, shapes: Tensor) -> None:
    # On a GPU the sum would have to be waited for; the operator asserts there.
    if value.is_cuda or torch.compiler.is_compiling():
        return
    cells = int(shapes.prod(-1).sum())
    if cells != value.shape[1]:
        raise ValueError(f"spatial_shapes have {cells} cells in all, value has {value.shape[1]}")
