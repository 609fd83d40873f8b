"""ROIAlign of rotated boxes on one aerial image: ``hatch run bench:run ops/roi_align_rotated.py``."""

import torch
from compare import compare, heading

from okulo_ops._operator import OPERATORS

CHANNELS, SIDE, BOXES, BINS = 256, 128, 500, 7


def main() -> None:
    heading("roi_align_rotated")
    torch.manual_seed(0)
    features = torch.randn(1, CHANNELS, SIDE, SIDE)
    place = torch.rand(BOXES, 2) * SIDE * 8
    size = 16 + torch.rand(BOXES, 2) * 112
    turn = torch.rand(BOXES, 1) * 6.28
    rois = torch.cat((torch.zeros(BOXES, 1), place, size, turn), dim=1)
    native, meaning = torch.ops.okulo.roi_align_rotated, OPERATORS["roi_align_rotated"]
    for ratio in (2, 0):
        args = rois, BINS, BINS, 1 / 8, ratio, True
        name = f"{BOXES} boxes of {CHANNELS}x{SIDE}x{SIDE}, ratio {ratio}"
        forward = [lambda f=f, a=args: f(features, *a) for f in (native, meaning)]
        compare(f"{name}, forward, against its meaning", *forward, demand="<= 0.33")
        leaf = features.clone().requires_grad_()
        grad = torch.randn(BOXES, CHANNELS, BINS, BINS)
        graphs = [f(leaf, *args) for f in (native, meaning)]
        backward = [
            lambda g=g: torch.autograd.grad(g, leaf, grad, retain_graph=True) for g in graphs
        ]
        compare(f"{name}, backward, against its meaning", *backward, demand="<= 0.33")


if __name__ == "__main__":
    import okulo_ops

    okulo_ops.roi_align_rotated  # noqa: B018  defines the operator
    main()
