"""Compiles ``csrc`` into shared objects beside the Python modules; run it after a change.

    python packages/ops-cuda/build_kernels.py [--cuda auto|no|90,100+ptx]

The kernels use PyTorch's stable ABI only, so one file serves every PyTorch from 2.10 on and every
Python. Headers come from the PyTorch that is installed: in this environment, in the one a wheel is
being built for, or in the folder that OKULO_OPS_TORCH names. ninja compiles what has changed.
"""

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.resolve()
OUTPUT = ROOT / "src" / "okulo_ops" / "lib"
RELEASE_ARCHITECTURES = "75,80,86,89,90,100,120+ptx"

# The oldest PyTorch whose symbols may be used: 2.10.
COMMON_FLAGS = ["-std=c++20", "-O3", "-DTORCH_TARGET_VERSION=0x020a000000000000"]
# Without contraction every compiler gives the same bits as PyTorch's separate operations.
CPU_FLAGS = [
    "-fPIC",
    "-fvisibility=hidden",
    "-fopenmp-simd",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",  # nobody reads the exception flags; selections become vector code
    "-Wall",
]
X86_FLAGS = ["-march=x86-64-v3"]  # AVX2 and FMA; _library.py looks before it loads
CUDA_FLAGS = [
    "-DUSE_CUDA",
    "--fmad=false",
    "--expt-relaxed-constexpr",
    "--extended-lambda",
    "-Xcompiler=-fPIC,-fvisibility=hidden",
]


class BuildError(Exception):
    """Why nothing could be built, and what to do about it."""


def build(cuda: str = "auto") -> Path:
    """Compile and link; return the folder with the shared objects and ``build.json``.

    Args:
        cuda: "no"; "auto" for the GPUs of this machine; or compute capabilities, ``90,100+ptx``.

    Raises:
        BuildError: PyTorch, a compiler or ninja is missing, or compilation failed (its messages
            have been printed).
    """
    torch = find_torch()
    compiler = find_compiler()
    reason = "" if cuda == "no" else why_no_cuda(torch)
    architectures = local_architectures() if cuda == "auto" else cuda.split(",")
    if cuda not in ("auto", "no") and reason:
        raise BuildError(f"CUDA kernels for {cuda} were asked for, but {reason}")
    if cuda == "no" or (not architectures and not reason):
        reason = "left out when the kernels were built"
    OUTPUT.mkdir(exist_ok=True)
    build_folder = prepare(torch)
    rules = ninja_rules(compiler, [] if reason else architectures)
    (build_folder / "build.ninja").write_text(rules)
    if subprocess.run([find_ninja(), "-C", str(build_folder)]).returncode != 0:
        raise BuildError("the kernels did not compile; the compiler's messages are above")
    information = {
        "torch": torch_version(torch),
        "compiler": version_line(compiler, 0),
        "flags": " ".join([*COMMON_FLAGS, *cpu_flags()]),
    }
    if reason:
        (OUTPUT / "okulo_ops_cuda.so").unlink(missing_ok=True)
        information["okulo_ops_cuda.so"] = reason
    else:
        information |= {
            "cuda": version_line(find_nvcc(), -1),
            "architectures": ",".join(architectures),
        }
    (OUTPUT / "build.json").write_text(json.dumps(information, indent=1))
    return OUTPUT


def find_torch() -> Path:
    """The folder of the installed PyTorch, without importing it."""
    named = os.environ.get("OKULO_OPS_TORCH")
    folders = [Path(named)] if named else []
    spec = importlib.util.find_spec("torch")
    if spec and spec.origin:
        folders.append(Path(spec.origin).parent)
    # An isolated build hides site-packages from imports, not from us.
    folders += [Path(sysconfig.get_path(key)) / "torch" for key in ("purelib", "platlib")]
    for folder in folders:
        if (folder / "include" / "torch" / "csrc" / "stable" / "library.h").is_file():
            return folder
    raise BuildError(
        "okulo-ops compiles its kernels against the headers of an installed PyTorch >= 2.10 and "
        "found none. Install torch first and build with --no-build-isolation, or set "
        "OKULO_OPS_TORCH to the folder of the torch package, or set OKULO_OPS_PURE=1 to install "
        "without kernels (slower, same results)."
    )


def find_compiler() -> str:
    """The C++ compiler: $CXX, or the first of the usual names."""
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["c++", "g++", "clang++"]
    for name in names:
        if found := shutil.which(name):
            return found
    raise BuildError(
        f"okulo-ops needs a C++20 compiler and found none of {', '.join(names)}. Install "
        "one (Debian: apt install g++), name it in CXX, or set OKULO_OPS_PURE=1 to install "
        "without kernels."
    )


def find_ninja() -> str:
    try:
        import ninja

        return str(Path(ninja.BIN_DIR) / "ninja")
    except ImportError:
        found = shutil.which("ninja")
    if not found:
        raise BuildError("okulo-ops needs ninja to compile its kernels: pip install ninja")
    return found


def find_nvcc() -> str | None:
    home = os.environ.get("CUDA_HOME")
    return shutil.which("nvcc", path=f"{home}/bin") if home else shutil.which("nvcc")


def why_no_cuda(torch: Path) -> str:
    """Why CUDA kernels cannot be built; empty if they can."""
    if not (torch / "lib" / "libtorch_cuda.so").is_file():
        return "the PyTorch they were built against has no CUDA"
    if find_nvcc() is None:
        return "nvcc was not found when they were built (CUDA_HOME, PATH)"
    return ""


def local_architectures() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    if shutil.which(query[0]) is None:
        return []
    found = subprocess.run(query, capture_output=True, text=True).stdout.split()
    return sorted({capability.replace(".", "") for capability in found})


def prepare(torch: Path) -> Path:
    """The folder to build in; PyTorch is a link there, so that another environment's is as good."""
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    link = folder / "torch"
    link.unlink(missing_ok=True)
    link.symlink_to(torch, target_is_directory=True)
    return folder


def ninja_rules(compiler: str, architectures: list[str]) -> str:
    includes = f"-isystem torch/include -I{ROOT}/csrc"
    # Messages name a source as csrc/..., not by where it was built.
    cpu = " ".join([*COMMON_FLAGS, *cpu_flags(), f"-ffile-prefix-map={ROOT}/=", includes])
    # libtorch must be named: Python loads PyTorch with local symbols.
    link = "-Wl,-z,defs -Wl,--no-as-needed -Ltorch/lib -ltorch_cpu"
    lines = rule("cpu", f"{compiler} {cpu}") + rule("link_cpu", f"{compiler} -shared $in {link}")
    lines += library("cpu", sorted((ROOT / "csrc" / "cpu").glob("*.cpp")))
    if architectures:
        nvcc = find_nvcc()
        prefix = f"-Xcompiler=-ffile-prefix-map={ROOT}/="
        cuda = " ".join([*COMMON_FLAGS, *CUDA_FLAGS, prefix, *gencode(architectures), includes])
        # A static runtime: one file for PyTorch with CUDA 12 and 13.
        link = "-Xlinker --no-as-needed -Ltorch/lib -ltorch_cuda -ltorch_cpu"
        lines += rule("cuda", f"{nvcc} {cuda}")
        lines += rule("link_cuda", f"{nvcc} -shared -cudart static $in {link}")
        lines += library("cuda", sorted((ROOT / "csrc" / "cuda").glob("*.cu")))
    return "\n".join(lines) + "\n"


def rule(name: str, command: str) -> list[str]:
    if name.startswith("link"):
        return [f"rule {name}", f"  command = {command} -o $out"]
    compile = f"{command} -MMD -MF $out.d -c $in -o $out"
    return [f"rule {name}", f"  command = {compile}", "  depfile = $out.d", "  deps = gcc"]


def library(device: str, sources: list[Path]) -> list[str]:
    objects = [f"{device}_{source.stem}.o" for source in sources]
    compiled = [f"build {o}: {device} {s}" for o, s in zip(objects, sources, strict=True)]
    target = OUTPUT / f"okulo_ops_{device}.so"
    return [*compiled, f"build {target}: link_{device} {' '.join(objects)}"]


def gencode(architectures: list[str]) -> list[str]:
    """nvcc's flags: machine code for each capability, and PTX for later GPUs after ``+ptx``."""
    flags = []
    for each in architectures:
        number = each.removesuffix("+ptx")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if each.endswith("+ptx"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def cpu_flags() -> list[str]:
    return CPU_FLAGS + (X86_FLAGS if platform.machine() == "x86_64" else [])


def torch_version(torch: Path) -> str:
    found = re.search(r"__version__ = ['\"](.+?)['\"]", (torch / "version.py").read_text())
    return found[1] if found else "unknown"


def version_line(command: str | None, line: int) -> str:
    """One line of what the compiler says to --version."""
    output = subprocess.run([str(command), "--version"], capture_output=True, text=True).stdout
    return output.strip().splitlines()[line]


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Compile the native kernels of okulo-ops in place."
    )
    parser.add_argument("--cuda", default="auto", help='"auto" (GPUs here), "no", or 75,90,120+ptx')
    try:
        build(parser.parse_args().cuda)
    except BuildError as error:
        print(f"build_kernels: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
