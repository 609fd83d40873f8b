"""What the native kernels were built with, for reports of an environment."""

from okulo_ops._library import build_information, missing

__all__ = [
    "get_compiler_version",
    "get_compiling_cuda_version",
    "get_cuda_version",
    "has_cuda",
]


def get_compiler_version() -> str:
    """The C++ compiler of the kernels, as it names itself; "not compiled" without kernels."""
    return build_information().get("compiler", "not compiled")


def get_cuda_version() -> str:
    """The CUDA toolkit of the CUDA kernels, as nvcc names it; "not available" without them."""
    return build_information().get("cuda", "not available")


get_compiling_cuda_version = get_cuda_version
"""mmcv's name for it."""


def has_cuda() -> bool:
    """Whether CUDA kernels are loaded; without them the operators run in PyTorch on a GPU."""
    return missing["cuda"] == ""
