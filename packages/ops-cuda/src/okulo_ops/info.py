"""Which operator runs on what, and why: ``python -m okulo_ops.info``."""

import json
import sys
from importlib.metadata import version
from typing import TypedDict

__all__ = ["OpInfo", "ops_table", "main"]

_KERNEL = "torchvision's kernel; no own kernel is measured to be faster"
_MEANING = "written in PyTorch; no native kernel yet"


class OpInfo(TypedDict):
    """One operator: ``backends`` has one entry "device: what runs there" for each device."""

    op: str
    backends: list[str]
    reason: str


def ops_table() -> list[OpInfo]:
    """Every operator with what runs it on the CPU and, where there is one, on the GPU."""
    import torch

    from okulo_ops._box_iou_rotated import has_torchvision_kernel

    kernels = f"torchvision {version('torchvision')}", _KERNEL
    meaning = f"pytorch {torch.__version__}", _MEANING
    no_kernel = meaning[0], f"this torchvision, {version('torchvision')}, has no such kernel"
    runs_on = {
        "nms": kernels,
        "batched_nms": kernels,
        "nms_rotated": meaning,
        "batched_nms_rotated": meaning,
        "box_iou_rotated": kernels if has_torchvision_kernel() else no_kernel,
        "bbox_overlaps": meaning,
        "roi_align": kernels,
        "paste_masks_in_image": meaning,
    }
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    return [
        OpInfo(op=op, backends=[f"{device}: {backend}" for device in devices], reason=reason)
        for op, (backend, reason) in runs_on.items()
    ]


def main() -> int:
    """Print the table; ``--json`` prints it for a machine."""
    rows = ops_table()
    if "--json" in sys.argv[1:]:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(f"{row['op']:<22} {', '.join(row['backends']):<28} {row['reason']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
