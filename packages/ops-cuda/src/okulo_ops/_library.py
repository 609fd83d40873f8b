"""Loads the native kernels that lie beside this module, and remembers why any are missing."""

import json
import platform
import warnings
from pathlib import Path

import torch

__all__ = ["FOLDER", "missing", "build_information"]

FOLDER = Path(__file__).parent / "lib"
_BUILD = (
    "not built; install a wheel, or in a checkout run python packages/ops-cuda/build_kernels.py"
)


def build_information() -> dict[str, str]:
    """What the kernels were built with: compilers, flags, architectures; empty if not built."""
    path = FOLDER / "build.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _load_cpu() -> str:
    # Compiled for AVX2 and FMA (x86-64-v3); PyTorch itself says whether this processor has them.
    if platform.machine() == "x86_64" and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        return "this processor has no AVX2"
    return _load("okulo_ops_cpu.so")


def _load_cuda() -> str:
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    return _load("okulo_ops_cuda.so")


def _load(name: str) -> str:
    path = FOLDER / name
    if not path.is_file():
        return build_information().get(name, _BUILD)
    try:
        torch.ops.load_library(path)
    except OSError as error:
        warnings.warn(
            f"okulo_ops: {name} does not load, operators run in PyTorch instead: {error}",
            stacklevel=2,
        )
        return f"does not load: {error}"
    return ""


missing: dict[str, str] = {"cpu": _load_cpu(), "cuda": _load_cuda()}
"""Device type -> why its kernels are not loaded; an empty string where they are."""
