"""Suppression among 20 000 boxes: ``hatch run bench:run ops/nms.py``."""

import torch
from compare import compare, heading
from torch import Tensor
from torchvision.ops import batched_nms as torchvision_batched_nms
from torchvision.ops import nms as torchvision_nms

from okulo_ops import batched_nms, nms
from okulo_ops._nms import suppress
from okulo_ops._operator import OPERATORS

BOXES = 20_000
IMAGE = 1216.0, 800.0


def spread(n: int) -> Tensor:
    """Boxes of 8 to 64 pixels anywhere: most of them stay."""
    return around(torch.rand(n, 2) * torch.tensor(IMAGE), 8 + 56 * torch.rand(n, 2))


def clustered(n: int) -> Tensor:
    """Proposals around 60 objects, as a region proposal network gives them: most of them go."""
    centers, sizes = torch.rand(60, 2) * torch.tensor(IMAGE), 30 + 200 * torch.rand(60, 2)
    owner = torch.randint(60, (n,))
    size = sizes[owner]
    return around(
        centers[owner] + 0.15 * size * torch.randn(n, 2), size * (0.25 * torch.randn(n, 2)).exp()
    )


def around(center: Tensor, size: Tensor) -> Tensor:
    return torch.cat((center - size / 2, center + size / 2), dim=1)


def main() -> None:
    heading("non-maximum suppression")
    for distribution in (spread, clustered):
        for threshold in (0.5, 0.7):
            torch.manual_seed(0)
            against_torchvision(distribution(BOXES), distribution.__name__, threshold)
    against_meaning(clustered(5000))


def against_torchvision(boxes: Tensor, name: str, threshold: float) -> None:
    scores, idxs = torch.rand(len(boxes)), torch.randint(80, (len(boxes),))
    compare(
        f"nms, {len(boxes)} {name}, IoU {threshold}, against torchvision",
        lambda: nms(boxes, scores, threshold),
        lambda: torchvision_nms(boxes, scores, threshold),
        demand="<= 0.60",
    )
    compare(
        f"batched_nms, 80 categories, {name}, IoU {threshold}",
        lambda: batched_nms(boxes, scores, idxs, threshold),
        lambda: torchvision_batched_nms(boxes, scores, idxs, threshold),
        demand="<= 0.60",
    )


def against_meaning(boxes: Tensor) -> None:
    scores = torch.rand(len(boxes))
    ranked = boxes[scores.argsort(descending=True)]
    compare(
        f"nms, {len(boxes)} clustered, IoU 0.7, against its meaning",
        lambda: suppress(boxes, scores, None, 0.7),
        lambda: OPERATORS["nms"](ranked, None, 0.7, 0),
        demand="<= 0.33",
    )


if __name__ == "__main__":
    main()
