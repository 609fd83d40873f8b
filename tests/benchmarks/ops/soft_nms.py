"""Soft suppression and matching among 2000 boxes: ``hatch run bench:run ops/soft_nms.py``."""

import torch
from compare import compare, heading
from nms import clustered

import okulo_ops
from okulo_ops._operator import OPERATORS

BOXES = 2000


def main() -> None:
    heading("soft suppression")
    torch.manual_seed(0)
    boxes, scores = clustered(BOXES), torch.rand(BOXES)
    for position, method in enumerate(("naive", "linear", "gaussian")):
        args = boxes, scores, None, 0.3, 0.5, 1e-3, position, 0
        versus_meaning("soft_nms", f"soft_nms, {method}, {BOXES} boxes", args)
    ranked = boxes[scores.argsort(descending=True)]
    versus_meaning("nms_match", f"nms_match, {BOXES} boxes", (ranked, 0.7))


def versus_meaning(operator: str, name: str, args: tuple[object, ...]) -> None:
    native, meaning = getattr(torch.ops.okulo, operator), OPERATORS[operator]
    compare(
        f"{name}, against its meaning",
        lambda: native(*args),
        lambda: meaning(*args),
        demand="<= 0.33",
    )


if __name__ == "__main__":
    okulo_ops.soft_nms, okulo_ops.nms_match  # noqa: B018  defines the operators
    main()
