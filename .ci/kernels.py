"""Hold the built wheel of okulo-ops to its promise: one file for every PyTorch from 2.10 on.

    python .ci/kernels.py dist OTHER_TORCH

Looks at the shared objects' symbols and at the libraries they ask for, then installs the very same
wheel beside another PyTorch and runs the operators' tests there.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SYSTEM = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}
TORCH = {
    "okulo_ops_cpu.so": {"libtorch_cpu.so"},
    "okulo_ops_cuda.so": {"libtorch_cpu.so", "libtorch_cuda.so"},
}
TEST_TOOLS = ("hypothesis", "pytest", "pytest-xdist", "scipy", "setuptools", "shapely")


def output(*command: str | Path) -> str:
    parts = [str(part) for part in command]
    return subprocess.run(parts, check=True, capture_output=True, text=True).stdout


def check_symbols(library: Path) -> None:
    """Only PyTorch's stable C shims, none younger than 2.10."""
    (report,) = json.loads(output("torch-abi-audit", "--json", library))["bundled_libs"]
    torch = report["torch"]
    if not torch["stable"] or torch["min_torch_version"] != "2.10.0":
        raise SystemExit(f"{library.name} is not on the stable ABI of PyTorch 2.10: {torch}")
    undefined = output("nm", "-D", "--undefined-only", library).split()
    mangled = [s for s in undefined if s.startswith("_Z") and ("torch" in s or "c10" in s)]
    if mangled:
        raise SystemExit(f"{library.name} needs C++ symbols of PyTorch: {mangled}")
    print(
        f"{library.name}: {torch['stable_shim_count']} stable shims, none mangled, PyTorch >= 2.10"
    )


def check_needed(library: Path) -> None:
    """The CPU file asks for no CUDA, the CUDA file brings its runtime along."""
    lines = output("readelf", "-d", library).splitlines()
    needed = {line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line}
    unexpected = needed - SYSTEM ^ TORCH[library.name]
    if unexpected:
        raise SystemExit(f"{library.name} needs {sorted(needed)}, expected {TORCH[library.name]}")


def check_under_another_torch(wheel: Path, torch: str, folder: Path) -> None:
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [str(python), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"torch=={torch}", "numpy>=2", "lazy-loader", *TEST_TOOLS], check=True)
    # Without its dependencies: torchvision does not load beside every PyTorch.
    subprocess.run([*pip, "--no-deps", wheel], check=True)
    loaded = output(python, "-m", "okulo_ops.info", "--json")
    if json.loads(loaded)["kernels"]["cpu kernels"] != "loaded":
        raise SystemExit(f"under PyTorch {torch} the kernels are not loaded:\n{loaded}")
    tests = ["-m", "pytest", "-q", "-n", "2", "-m", "not slow", "packages/ops-cuda/tests"]
    subprocess.run([str(python), *tests], check=True, cwd=ROOT)


def main() -> int:
    (wheel,) = Path(sys.argv[1]).resolve().glob("okulo_ops-*.whl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zipfile.ZipFile(wheel).extractall(folder / "wheel")
        for library in TORCH:
            check_symbols(folder / "wheel" / "okulo_ops" / "lib" / library)
            check_needed(folder / "wheel" / "okulo_ops" / "lib" / library)
        check_under_another_torch(wheel, sys.argv[2], folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
