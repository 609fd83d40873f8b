"""When torchvision's kernels run instead of ours."""

import sys
from types import SimpleNamespace

import pytest
import torch

from okulo_ops._torchvision import torchvision_ops


def on_gpu(dtype=torch.float32):
    """What is asked of a tensor; there may be no GPU."""
    return SimpleNamespace(is_cuda=True, dtype=dtype)


@pytest.fixture
def torchvision(monkeypatch):
    package = SimpleNamespace(ops="its operators")
    monkeypatch.setitem(sys.modules, "torchvision", package)
    return package


def test_it_runs_on_a_gpu_in_full_precision(torchvision):
    assert torchvision_ops(on_gpu(), None, on_gpu()) == torchvision.ops
    assert torchvision_ops(on_gpu(torch.float64)) == torchvision.ops


def test_ours_run_on_the_cpu_and_in_half_or_mixed_precision(torchvision):
    assert torchvision_ops(torch.zeros(1)) is None
    assert torchvision_ops(on_gpu(torch.bfloat16)) is None
    assert torchvision_ops(on_gpu(), on_gpu(torch.float64)) is None


def test_ours_run_in_deterministic_mode_and_under_autocast(torchvision, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
        assert torchvision_ops(on_gpu()) is None
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    assert torchvision_ops(on_gpu()) is None


def test_ours_run_where_torchvision_does_not_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert torchvision_ops(on_gpu()) is None
