"""``okulo doctor``: what is installed, where it runs, what is broken and why."""

import argparse
import importlib
import platform
from importlib import metadata
from typing import Any

import attrs

from okulo_engine.cli.output import print_json, print_table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if a plugin is broken."""
    states = args.plugins.states
    report = {
        "versions": _versions(),
        "devices": _devices(),
        **_operators(),
        "plugins": [attrs.asdict(state) for state in states],
    }
    if args.json:
        print_json(report)
    else:
        _print_report(report)
    return int(any(state.status == "broken" for state in states))


def _versions() -> dict[str, str]:
    names = {dist.name for dist in metadata.distributions()}
    wanted = ["torch", "torchvision", "numpy", *sorted(n for n in names if n.startswith("okulo-"))]
    versions = {name: metadata.version(name) if name in names else "missing" for name in wanted}
    return {"python": platform.python_version(), "system": platform.platform(), **versions}


def _devices() -> list[dict[str, str]]:
    try:
        import torch
    except Exception as error:
        return [{"device": "none", "name": f"torch cannot be imported: {error}"}]
    found = [{"device": "cpu", "name": f"{platform.machine()}, {torch.get_num_threads()} threads"}]
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        name = f"{about.name}, sm_{about.major}{about.minor}, {about.total_memory >> 30} GiB"
        found.append({"device": f"cuda:{index}", "name": name})
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": "Apple GPU"})
    return found


def _operators() -> dict[str, Any]:
    # Reached by name: the engine depends on core alone and works without the operators.
    try:
        info = importlib.import_module("okulo_ops.info")
        return {"kernels": info.kernels(), "operators": list(info.ops_table())}
    except Exception as error:
        row = {"op": "okulo_ops", "backends": "none", "reason": str(error)}
        return {"kernels": {}, "operators": [row]}


def _print_report(report: dict[str, Any]) -> None:
    print_table(("what", "version"), list(report["versions"].items()))
    print()
    print_table(("device", "name"), [(d["device"], d["name"]) for d in report["devices"]])
    print()
    print_table(("kernels", ""), list(report["kernels"].items()))
    print()
    columns = tuple(dict.fromkeys(key for op in report["operators"] for key in op)) or ("op",)
    print_table(columns, [[_text(op.get(c)) for c in columns] for op in report["operators"]])
    print()
    rows = [(p["distribution"], p["version"], p["status"], p["error"]) for p in report["plugins"]]
    print_table(("plugin", "version", "status", "cause"), rows)
    for plugin in report["plugins"]:
        if plugin["traceback"]:
            print(f"\n{plugin['distribution']}:\n{plugin['traceback']}")


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
