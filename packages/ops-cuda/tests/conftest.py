"""Recorded numbers, and what every operator is held to; runs where only okulo-ops is installed."""

import json
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from okulo_ops._operator import OPERATORS

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    ],
)


def pytest_generate_tests(metafunc):
    """A test that takes ``device`` runs on the CPU and on a GPU."""
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", ["cpu", CUDA])


class Golden:
    """Recorded inputs, outputs and settings of operators, by case."""

    def __init__(self, folder: Path, name: str) -> None:
        self.arrays = np.load(folder / f"{name}.npz", allow_pickle=False)
        self.settings = json.loads((folder / f"{name}.json").read_text())

    def __call__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])

    @staticmethod
    def weights(output: Tensor) -> Tensor:
        """What recorded gradients are of: the sum of the outputs with weights from 0.5 to 1.5."""
        return torch.linspace(0.5, 1.5, output.numel()).reshape(output.shape).to(output)


def shared(relative: str) -> Path:
    root = os.environ.get("OKULO_SHARED", Path(__file__).parents[3].parent / "shared")
    path = Path(root) / relative
    if not path.exists():
        pytest.skip(f"shared data not found: {path}; set OKULO_SHARED to its root")
    return path


@pytest.fixture(scope="session")
def golden() -> Golden:
    """detectron2's operators."""
    return Golden(shared("golden/detectron2"), "ops")


@pytest.fixture(scope="session")
def golden_mmcv():
    """mmcv's operators: golden_mmcv("ops_roi") and so on."""
    folder = shared("golden/mmcv")
    return lambda name: Golden(folder, name)


@pytest.fixture
def check_operator():
    """Hold ``torch.ops.okulo.<name>`` to its contract on the given arguments.

    ``check_operator(name, args, wrt=(0,))``: args are what the operator takes, floating ones in
    float32 on the CPU; wrt are the positions of the arguments it is differentiated by.
    """
    return Contract


class Contract:
    """Each method is one promise; constructing it checks them all."""

    dtypes = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

    def __init__(self, name, args, wrt=(), *, device="cpu", dtypes=dtypes, second=True):
        self.op = getattr(torch.ops.okulo, name).default
        self.meaning = OPERATORS[name]
        self.args = pytree.tree_map_only(Tensor, lambda t: t.to(device), list(args))
        self.wrt = wrt
        if self.is_first_of_its_kind():
            self.registration_is_complete()
            self.compiles_to_one_graph()
        self.inputs_are_left_alone_and_runs_agree()
        self.strides_do_not_matter()
        for dtype in dtypes:
            self.is_as_exact_as_its_meaning(dtype)
        if wrt:
            self.gradients_are_derivatives(second)

    traced: ClassVar = set()

    def is_first_of_its_kind(self):
        """Tracing looks at kinds of arguments, not at values: of each kind once is enough."""
        values, structure = pytree.tree_flatten(self.args)
        kind = self.op, structure, tuple(map(kind_of, values)), tuple(self.wrt)
        is_first = kind not in self.traced
        self.traced.add(kind)
        return is_first

    def registration_is_complete(self):
        args = self.as_leaves(self.args) if self.wrt else self.args
        torch.library.opcheck(self.op, tuple(args))

    def compiles_to_one_graph(self):
        torch.compiler.reset()
        with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
            compiled = torch.compile(lambda *a: self.op(*a), fullgraph=True, backend="aot_eager")
            assert_equal(compiled(*self.args), self.op(*self.args))

    def inputs_are_left_alone_and_runs_agree(self):
        before = pytree.tree_map_only(Tensor, torch.clone, self.args)
        first, second = (self.with_gradients(self.op, self.args) for _ in range(2))
        assert_equal(before, self.args)
        if self.device_is_deterministic():
            assert_equal(first, second)

    def device_is_deterministic(self):
        return all(not t.is_cuda for t in pytree.tree_leaves(self.args) if isinstance(t, Tensor))

    def strides_do_not_matter(self):
        expected = self.with_gradients(self.op, self.args)
        for layout in (interleaved, channels_last):
            args = pytree.tree_map_only(Tensor, layout, self.args)
            assert_equal(self.with_gradients(self.op, args), expected)

    def is_as_exact_as_its_meaning(self, dtype):
        """At most twice the error that the meaning in PyTorch has in this dtype."""
        args = self.cast(dtype)
        exact = self.with_gradients(self.meaning, cast_all(args, torch.float64))
        eager = self.with_gradients(self.meaning, args)
        ours = self.with_gradients(self.op, args)
        for mine, theirs, truth in zip(leaves(ours), leaves(eager), leaves(exact), strict=True):
            assert mine.shape == theirs.shape
            assert mine.dtype == theirs.dtype
            if not mine.is_floating_point():
                assert torch.equal(mine, theirs)
                continue
            scale = truth.abs().amax().item() if truth.numel() else 0.0
            # The truth is itself computed in float64, there two ways of rounding are compared.
            slack = 1000 if dtype == torch.float64 else 4
            allowance = 2 * max_error(theirs, truth) + slack * torch.finfo(dtype).eps * scale
            assert max_error(mine, truth) <= allowance, (dtype, max_error(mine, truth), allowance)

    def gradients_are_derivatives(self, second):
        args = self.as_leaves(cast_all(self.args, torch.float64))
        flat = [t for i in self.wrt for t in pytree.tree_leaves(args[i])]

        def function(*_):
            output = self.op(*args)
            return output[0] if isinstance(output, (tuple, list)) else output

        assert torch.autograd.gradcheck(
            function, flat, nondet_tol=0 if self.device_is_deterministic() else 1e-9
        )
        if second:
            # Along one random direction: all of them take most of the time of these tests.
            assert torch.autograd.gradgradcheck(function, flat, nondet_tol=1e-9, fast_mode=True)

    def cast(self, dtype):
        return cast_all(self.args, dtype)

    def as_leaves(self, args):
        args = list(args)
        for i in self.wrt:
            args[i] = pytree.tree_map_only(
                Tensor, lambda t: t.detach().clone().requires_grad_(), args[i]
            )
        return args

    def with_gradients(self, function, args):
        """Outputs, then gradients of a fixed weighting of the first output."""
        args = as_strided_leaves(args, self.wrt)
        outputs = function(*args)
        if not self.wrt:
            return [outputs]
        first = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
        weight = torch.linspace(-1, 1, first.numel()).reshape(first.shape)
        inputs = [t for i in self.wrt for t in pytree.tree_leaves(args[i])]
        grads = torch.autograd.grad(first, inputs, weight.to(first), allow_unused=True)
        pairs = zip(inputs, grads, strict=True)
        return [outputs, *[torch.zeros_like(t) if g is None else g for t, g in pairs]]


def kind_of(value):
    if isinstance(value, Tensor):
        return value.dtype, value.device.type, value.ndim, value.numel() == 0
    return value if isinstance(value, (bool, str)) else type(value)


def as_strided_leaves(args, wrt):
    """Arguments as they are, strides included, those of ``wrt`` as leaves of a graph."""
    args = list(args)
    for i in wrt:
        args[i] = pytree.tree_map_only(Tensor, lambda t: t.detach().requires_grad_(), args[i])
    return args


def cast_all(args, dtype):
    def cast(t):
        return t.to(dtype) if t.is_floating_point() else t

    return pytree.tree_map_only(Tensor, cast, list(args))


def interleaved(t):
    """The same values with a gap after each."""
    return torch.stack((t, t), dim=-1)[..., 0]


def channels_last(t):
    return t.to(memory_format=torch.channels_last) if t.ndim == 4 else t


def leaves(value):
    return [t.detach() for t in pytree.tree_leaves(value) if isinstance(t, Tensor)]


def max_error(value, truth):
    if value.numel() == 0:
        return 0.0
    error = (value.double() - truth.double()).abs()
    return torch.where(value.double() == truth.double(), 0.0, error).amax().item()


def assert_equal(ours, theirs):
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
