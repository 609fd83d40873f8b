"""MM-249: batch normalisation over processes; MM-250: layers that take empty batches."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from okulo_ops import Conv2d, ConvTranspose2d, Linear, MaxPool2d, SyncBatchNorm

WORKER = """
import sys, torch, torch.distributed as dist
from okulo_ops import SyncBatchNorm

folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
results = []
for batches, mode in torch.load(f"{folder}/cases.pt"):
    layer = SyncBatchNorm(3, stats_mode=mode).double()
    x = batches[rank].requires_grad_()
    y = layer(x)
    w = torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).reshape(y.shape)
    (y**3 * w).sum().backward()
    results.append([y.detach(), x.grad, layer.weight.grad, layer.running_mean, layer.running_var])
torch.save(results, f"{folder}/{rank}.pt")
"""


def weights(y):
    return torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).reshape(y.shape)


def in_two_processes(cases, folder):
    """For each case (batches of both, mode), and each process: what the worker has found."""
    torch.save(cases, folder / "cases.pt")
    command = [sys.executable, "-c", WORKER, str(folder)]
    processes = [subprocess.Popen([*command, str(rank)]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    return zip(*(torch.load(folder / f"{rank}.pt") for rank in range(2)), strict=True)


def random_batches(*sizes):
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.normal(2, 3, (n, 3, 4, 5))) for n in sizes]


def check_joint(batches, results):
    """Both processes together did what one does with the joint batch."""
    joint = torch.cat(batches).requires_grad_()
    layer = nn.BatchNorm2d(3).double()
    y = layer(joint)
    w = torch.cat([weights(part) for part in y.split([len(b) for b in batches])])
    (y**3 * w).sum().backward()
    torch.testing.assert_close(torch.cat([r[0] for r in results]), y.detach())
    torch.testing.assert_close(torch.cat([r[1] for r in results]), joint.grad)
    torch.testing.assert_close(results[0][2] + results[1][2], layer.weight.grad)
    for result in results:
        torch.testing.assert_close(result[3], layer.running_mean)
        torch.testing.assert_close(result[4], layer.running_var)


@pytest.mark.slow
def test_processes_do_as_one_with_unequal_and_empty_batches(tmp_path):
    """Fixed: batches of different sizes had wrong statistics, empty ones failed."""
    sizes = ((2, 2), "default"), ((2, 2), "N"), ((4, 1), "N"), ((3, 0), "N"), ((0, 3), "default")
    cases = [(random_batches(*of), mode) for of, mode in sizes]
    for (batches, _), results in zip(cases, in_two_processes(cases, tmp_path), strict=True):
        check_joint(batches, results)


@pytest.mark.slow
@pytest.mark.shared
def test_recorded_numbers(golden_mmcv, tmp_path):
    golden = golden_mmcv("ops_from_definition")
    batches = [golden(f"sync_bn.rank{rank}.in") for rank in range(2)]
    scale, shift = (golden(f"sync_bn.{name}").view(1, 3, 1, 1) for name in ("weight", "bias"))
    ((first, second),) = in_two_processes([(batches, "default")], tmp_path)
    for rank, result in enumerate((first, second)):
        torch.testing.assert_close(result[0] * scale + shift, golden(f"sync_bn.rank{rank}.out"))
        torch.testing.assert_close(result[3], golden("sync_bn.running_mean_after_one_step"))
        torch.testing.assert_close(result[4], golden("sync_bn.running_var_after_one_step"))


@pytest.mark.parametrize("mode", ["default", "N"])
def test_alone_it_is_batch_normalisation(mode, device):
    (x,) = random_batches(3)
    x = x.to(device).to(memory_format=torch.channels_last)
    ours = SyncBatchNorm(3, stats_mode=mode).double().to(device)
    theirs = nn.BatchNorm2d(3).double().to(device)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_gradients_are_derivatives():
    layer = SyncBatchNorm(2).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(layer, x)


def test_an_empty_batch_changes_nothing():
    layer = SyncBatchNorm(3)
    assert layer(torch.zeros(0, 3, 4)).shape == (0, 3, 4)
    assert layer.running_mean.tolist() == [0, 0, 0]
    assert layer.running_var.tolist() == [1, 1, 1]


def test_half_input_has_float32_statistics():
    x = 100 + torch.randn(4, 3, 8, 8)
    y = SyncBatchNorm(3)(x.bfloat16())
    assert y.dtype == torch.bfloat16
    expected = nn.BatchNorm2d(3)(x.bfloat16().float())
    assert (y.float() - expected).abs().max() < 0.02


def test_refused_input_says_what_was_expected():
    with pytest.raises(ValueError, match='"default" or "N", got \'mean\''):
        SyncBatchNorm(3, stats_mode="mean")
    with pytest.raises(ValueError, match=r"input must be \(N, 3, ...\), got \(2, 4\)"):
        SyncBatchNorm(3)(torch.zeros(2, 4))


def test_layers_take_empty_batches():
    for layer, shape in (
        (Conv2d(3, 4, 3), (0, 4, 3, 3)),
        (ConvTranspose2d(3, 4, 3), (0, 4, 7, 7)),
        (MaxPool2d(5), (0, 3, 1, 1)),
        (Linear(5, 2), (0, 3, 5, 2)),
    ):
        x = torch.zeros(0, 3, 5, 5, requires_grad=True)
        y = layer(x)
        y.sum().backward()
        assert y.shape == shape
