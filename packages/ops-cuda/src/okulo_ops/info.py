"""Which operator runs on what and why, and how kernels were built: ``python -m okulo_ops.info``."""

import json
import pkgutil
import sys
from importlib import import_module
from typing import TypedDict

__all__ = ["OpInfo", "kernels", "ops_table", "main"]


class OpInfo(TypedDict):
    """One operator of ``torch.ops.okulo``.

    ``backends`` has one entry for each kind of device, "cpu: native" or "cpu: pytorch"; ``reason``
    says why any of them is not native, and is empty if all are.
    """

    op: str
    backends: list[str]
    reason: str


def ops_table() -> list[OpInfo]:
    """Every operator with what runs it on the CPU and on a GPU."""
    from okulo_ops._library import missing
    from okulo_ops._operator import OPERATORS

    _import_all()
    return [_row(name, missing) for name in sorted(OPERATORS)]


def kernels() -> dict[str, str]:
    """Whether the native kernels of each kind of device are loaded, and how they were built."""
    from okulo_ops._library import build_information, missing

    loaded = {f"{device} kernels": reason or "loaded" for device, reason in missing.items()}
    return loaded | {k: v for k, v in build_information().items() if not k.endswith(".so")}


def _row(name: str, missing: dict[str, str]) -> OpInfo:
    import torch

    backends, reasons = [], []
    for device, why in missing.items():
        native = torch._C._dispatch_has_kernel_for_dispatch_key(f"okulo::{name}", device.upper())
        backends.append(f"{device}: {'native' if native else 'pytorch'}")
        if not native:
            reasons.append(
                f"{device}: {why or 'no kernel is written; its meaning is the operator'}"
            )
    return OpInfo(op=name, backends=backends, reason="; ".join(reasons))


def _import_all() -> None:
    package = import_module("okulo_ops")
    for module in pkgutil.walk_packages(package.__path__, "okulo_ops."):
        import_module(module.name)


def main() -> int:
    """Print both; ``--json`` prints them for a machine."""
    rows, built = ops_table(), kernels()
    if "--json" in sys.argv[1:]:
        print(json.dumps({"kernels": built, "operators": rows}))
        return 0
    for name, value in built.items():
        print(f"{name:<16} {value}")
    print()
    for row in rows:
        print(f"{row['op']:<36} {', '.join(row['backends']):<28} {row['reason']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
