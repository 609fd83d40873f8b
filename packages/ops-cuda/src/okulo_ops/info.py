"""Which operator runs on what, and why: ``python -m okulo_ops.info``."""

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

__all__ = ["OpInfo", "ops_table", "main"]

_FROM_TORCHVISION = ("nms", "batched_nms", "box_iou_rotated", "roi_align")
_FROM_PYTORCH = ("nms_rotated", "batched_nms_rotated", "bbox_overlaps", "paste_masks_in_image")


class OpInfo(TypedDict):
    """One operator: ``backends`` has one entry "device: what runs there" for each device."""

    op: str
    backends: list[str]
    reason: str


def ops_table() -> list[OpInfo]:
    """Every operator with what runs it on the CPU and, where there is one, on the GPU."""
    import torch

    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    torchvision, why_not = _torchvision()
    rows = [
        OpInfo(
            op=name,
            backends=[f"{device}: {torchvision or 'missing'}" for device in devices],
            reason=why_not or "torchvision's kernel; no own kernel is measured to be faster",
        )
        for name in _FROM_TORCHVISION
    ]
    rows += [
        OpInfo(
            op=name,
            backends=[f"{device}: pytorch {torch.__version__}" for device in devices],
            reason="written in PyTorch; no native kernel yet",
        )
        for name in _FROM_PYTORCH
    ]
    return rows


def main() -> int:
    """Print the table; ``--json`` prints it for a machine."""
    rows = ops_table()
    if "--json" in sys.argv[1:]:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(f"{row['op']:<22} {', '.join(row['backends']):<40} {row['reason']}")
    return 0


def _torchvision() -> tuple[str, str]:
    """Name and version of torchvision, or why it is of no use."""
    try:
        name = f"torchvision {version('torchvision')}"
    except PackageNotFoundError:
        return "", "torchvision is not installed"
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        return "", f"{name} does not load: {error}"
    return name, ""


if __name__ == "__main__":
    sys.exit(main())
