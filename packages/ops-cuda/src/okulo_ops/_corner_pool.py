"""Corner pooling: running maxima of rows and columns (https://arxiv.org/abs/1808.01244, Eq. 5)."""

from typing import Literal

from torch import Tensor, nn

from okulo_ops._operator import define

__all__ = ["corner_pool", "CornerPool"]

Mode = Literal["top", "bottom", "left", "right"]

_SCANS = {"top": (2, True), "bottom": (2, False), "left": (3, True), "right": (3, False)}


def corner_pool(input: Tensor, mode: Mode) -> Tensor:
    """Maximum of each cell and all cells to one side of it.

    Args:
        input: (N, C, H, W), floating or integer.
        mode: "top" looks down the column, so that the top border of an object sees all of it,
            "bottom" up, "left" to the right along the row, "right" to the left.

    Returns:
        (N, C, H, W), dtype of ``input``. NaN is the largest value. The gradient of a maximum flows
        to the cell that holds it; of equal ones to the nearest to the result.
    """
    dim, from_end = _scan(mode)
    if input.ndim != 4:
        raise ValueError(f"input must have shape (N, C, H, W), got {tuple(input.shape)}")
    if not input.is_floating_point():  # which have no kernel
        return _meaning(input, dim, from_end)
    return _corner_pool(input, dim, from_end)  # type: ignore[no-any-return]


class CornerPool(nn.Module):
    """:func:`corner_pool` with its mode."""

    def __init__(self, mode: Mode) -> None:
        super().__init__()
        _scan(mode)
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        return corner_pool(x, self.mode)

    def extra_repr(self) -> str:
        return f"mode={self.mode!r}"


def _scan(mode: str) -> tuple[int, bool]:
    """The dimension scanned, and whether from its end."""
    if mode not in _SCANS:
        raise ValueError(f"mode must be one of {', '.join(_SCANS)}, got {mode!r}")
    return _SCANS[mode]


def _meaning(input: Tensor, dim: int, from_end: bool) -> Tensor:
    if from_end:
        return input.flip(dim).cummax(dim).values.flip(dim)
    return input.cummax(dim).values


_corner_pool = define(
    "corner_pool(Tensor input, int dim, bool from_end) -> Tensor",
    _meaning,
    lambda input, _dim, _from_end: input.new_empty(input.shape),
    gradient=["input"],
)
