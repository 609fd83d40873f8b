"""Multi-scale deformable attention: ``hatch run bench:run ops/ms_deform_attn.py``."""

import torch
from compare import compare, heading
from torch import Tensor

from okulo_ops._operator import OPERATORS

LEVELS = torch.tensor([[100, 152], [50, 76], [25, 38], [13, 19]])
HEADS, WIDTH, POINTS = 8, 32, 4


def encoder_references() -> Tensor:
    """The centre of every cell of every level."""
    centres = [
        torch.cartesian_prod((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w).flip(-1)
        for h, w in LEVELS.tolist()
    ]
    return torch.cat(centres)


def sample(references: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Points a few cells around each reference."""
    cells = LEVELS.prod(1)
    value = torch.randn(1, int(cells.sum()), HEADS, WIDTH)
    offsets = 2 * torch.randn(1, len(references), HEADS, len(LEVELS), POINTS, 2)
    locations = references[:, None, None, None] + offsets / LEVELS.flip(1)[:, None]
    weights = torch.rand(1, len(references), HEADS, len(LEVELS), POINTS)
    return value.to(dtype), LEVELS, cells.cumsum(0) - cells, locations, weights


def gradients(function, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    leaves = [t.detach().requires_grad_() if t.is_floating_point() else t for t in args]
    inputs = [leaf for leaf in leaves if leaf.requires_grad]
    output = function(*leaves)
    return torch.autograd.grad(output, inputs, torch.ones_like(output))


def main() -> None:
    heading("multi-scale deformable attention of an 800x1216 image, against its meaning")
    torch.manual_seed(0)
    native, meaning = torch.ops.okulo.ms_deform_attn, OPERATORS["ms_deform_attn"]
    for name, references in (("encoder", encoder_references()), ("decoder", torch.rand(300, 2))):
        for dtype in (torch.float32, torch.bfloat16):
            args = sample(references, dtype)
            label = f"{name} {len(references)} queries {str(dtype).removeprefix('torch.')}"
            compare(
                f"{label}, forward",
                lambda args=args: native(*args),
                lambda args=args: meaning(*args),
                demand="<= 0.33",
            )
            compare(
                f"{label}, forward and backward",
                lambda args=args: gradients(native, args),
                lambda args=args: gradients(meaning, args),
                demand="<= 0.33",
            )


if __name__ == "__main__":
    import okulo_ops

    okulo_ops.ms_deform_attn  # noqa: B018  defines the operator
    main()
