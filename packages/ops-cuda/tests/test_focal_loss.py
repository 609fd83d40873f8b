"""MM-238: sigmoid focal loss; MM-239: softmax focal loss."""

import pytest
import torch

from okulo_ops import (
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    sigmoid_focal_loss,
    softmax_focal_loss,
)


def sample(rows=7, classes=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, classes, generator=generator, dtype=dtype)
    target = torch.randint(-1, classes + 1, (rows,), generator=generator)  # background included
    weight = torch.rand(classes, generator=generator, dtype=dtype)
    return logits, target, weight


def reference(logits, target, weight, gamma, alpha):
    """Eq. 5 entry by entry in float64."""
    loss = torch.zeros(logits.shape, dtype=torch.float64)
    for i, row in enumerate(logits.double()):
        factor = weight[target[i]].double() if 0 <= target[i] < len(row) else 1.0
        for c, x in enumerate(row):
            p = 1 / (1 + torch.exp(-x))
            if target[i] == c:
                loss[i, c] = -factor * alpha * (1 - p) ** gamma * torch.log(p)
            else:
                loss[i, c] = -factor * (1 - alpha) * p**gamma * torch.log(1 - p)
    return loss


def test_contract(check_operator, device):
    logits, target, weight = sample()
    check_operator(
        "sigmoid_focal_loss", (logits, target, weight, 2.0, 0.25), wrt=(0,), device=device
    )
    check_operator("sigmoid_focal_loss", (logits, target, None, 1.5, 0.25), wrt=(0,), device=device)


def test_contract_without_rows(check_operator, device):
    args = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), None, 2.0, 0.25
    check_operator("sigmoid_focal_loss", args, wrt=(0,), device=device)


def test_contract_of_softmax(check_operator, device):
    logits, target, weight = sample()
    target[target == 5] = 3
    for args in ((logits, target, weight, 2.0, 0.25), (logits, target, None, 1.5, 0.25)):
        check_operator("softmax_focal_loss", args, wrt=(0,), device=device)


def test_contract_of_softmax_without_rows(check_operator, device):
    args = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), None, 2.0, 0.25
    check_operator("softmax_focal_loss", args, wrt=(0,), device=device)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_entries_are_those_of_the_paper(gamma):
    logits, target, weight = sample(dtype=torch.float64)
    ours = sigmoid_focal_loss(logits, target, gamma, 0.25, weight, "none")
    torch.testing.assert_close(ours, reference(logits, target, weight, gamma, 0.25))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "gamma", "alpha"),
    [
        ("g2.a0.25", 2, 0.25),
        ("g1.5.a0.6", 1.5, 0.6),
        ("g0.5.a0.25", 0.5, 0.25),
        ("background", 2, 0.25),
        ("weight", 2, 0.25),
    ],
)
def test_recorded_numbers(golden_mmcv, case, gamma, alpha):
    golden = golden_mmcv("ops_from_definition")
    name = f"sigmoid_focal.{case}"
    logits = golden(f"{name}.in0").requires_grad_()
    weight = golden(f"{name}.in2") if case == "weight" else None
    loss = sigmoid_focal_loss(logits, golden(f"{name}.in1"), gamma, alpha, weight, "none")
    torch.testing.assert_close(loss.double(), golden(f"{name}.out"), rtol=1e-5, atol=1e-6)
    loss.backward(golden.weights(loss))
    torch.testing.assert_close(logits.grad.double(), golden(f"{name}.grad0"), rtol=1e-4, atol=1e-6)


def test_mean_divides_by_the_rows():
    logits, target, _ = sample()
    total = sigmoid_focal_loss(logits, target, reduction="sum")
    torch.testing.assert_close(sigmoid_focal_loss(logits, target), total / len(logits))


def test_confident_and_wrong_does_not_overflow():
    loss = SigmoidFocalLoss(2.0, 0.25, reduction="sum")
    logits = torch.tensor([[-1e4]], requires_grad=True)
    value = loss(logits, torch.tensor([0]))
    value.backward()
    assert value.item() == pytest.approx(0.25 * 1e4)
    assert logits.grad.item() == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": torch.zeros(3)}, r"input must have shape \(N, C\), got \(3,\)"),
        ({"target": torch.zeros(2)}, r"target must be int64 of shape \(2,\).*got torch.float32"),
        ({"weight": torch.zeros(4)}, r"weight must have shape \(3,\).*got \(4,\)"),
        ({"reduction": "avg"}, '"none", "mean" or "sum", got \'avg\''),
    ],
)
def test_refused_input_says_what_was_expected(change, message):
    arguments = {"input": torch.zeros(2, 3), "target": torch.zeros(2, dtype=torch.int64)}
    with pytest.raises((ValueError, TypeError), match=message):
        sigmoid_focal_loss(**(arguments | change))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_rows_of_softmax_are_those_of_the_definition(gamma):
    logits, target, weight = sample(dtype=torch.float64)
    target[target == 5] = 2
    ours = softmax_focal_loss(logits, target, gamma, 0.25, weight, "none")
    for loss, row, label in zip(ours, logits, target, strict=True):
        p = torch.exp(row[label]) / torch.exp(row).sum()
        expected = -0.25 * weight[label] * (1 - p) ** gamma * torch.log(p) if label >= 0 else 0 * p
        torch.testing.assert_close(loss, expected)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "gamma", "alpha"),
    [
        ("g2.a0.25", 2, 0.25),
        ("g1.5.a0.6", 1.5, 0.6),
        ("g0.5.a0.25", 0.5, 0.25),
        ("weight_ignore", 2, 0.25),
    ],
)
def test_recorded_numbers_of_softmax(golden_mmcv, case, gamma, alpha):
    golden = golden_mmcv("ops_from_definition")
    name = f"softmax_focal.{case}"
    logits = golden(f"{name}.in0").requires_grad_()
    weight = golden(f"{name}.in2") if case == "weight_ignore" else None
    loss = softmax_focal_loss(logits, golden(f"{name}.in1"), gamma, alpha, weight, "none")
    torch.testing.assert_close(loss.double(), golden(f"{name}.out"), rtol=1e-5, atol=1e-6)
    loss.backward(golden.weights(loss))
    torch.testing.assert_close(logits.grad.double(), golden(f"{name}.grad0"), rtol=1e-4, atol=1e-6)


def test_softmax_rows_have_gradients_of_their_own():
    """Fixed: without a reduction the gradient was right only for as many rows as classes."""
    logits, target, _ = sample()
    target.clamp_(0, 4)
    logits.requires_grad_()
    rows = softmax_focal_loss(logits, target, reduction="none")
    (ours,) = torch.autograd.grad(rows, logits, torch.arange(7.0))
    for i in range(7):
        row = logits[i : i + 1].detach().requires_grad_()
        (alone,) = torch.autograd.grad(softmax_focal_loss(row, target[i : i + 1]), row)
        torch.testing.assert_close(ours[i : i + 1], i * alone)


def test_ignored_rows_count_in_the_mean():
    logits, target, _ = sample()
    target[target == 5] = 0
    total = SoftmaxFocalLoss(2.0, 0.25, reduction="sum")(logits, target)
    torch.testing.assert_close(SoftmaxFocalLoss(2.0, 0.25)(logits, target), total / len(logits))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_rows_have_finite_losses_and_gradients(gamma):
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    loss = softmax_focal_loss(logits, torch.tensor([0, 0]), gamma, 1.0, reduction="none")
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([0, 87.336544])  # floored at the smallest float
    assert logits.grad.tolist() == [[0, 0], [-1, 1]]  # and still learning


def test_softmax_refuses_a_target_that_is_no_class():
    with pytest.raises(RuntimeError, match=r"target 3 of row 1 .* there are 3.*negative target"):
        softmax_focal_loss(torch.zeros(2, 3), torch.tensor([0, 3]))


@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "softmax_focal_loss"])
def test_the_kernels_read_nothing_outside_their_inputs(name):
    logits, target, weight = sample()
    target.clamp_(0, 4)
    forward = getattr(torch.ops.okulo, name)
    backward = getattr(torch.ops.okulo, f"{name}_backward")
    for call in (
        lambda: forward(logits, target[:3], None, 2.0, 0.25),
        lambda: forward(logits, target, weight[:3], 2.0, 0.25),
        lambda: backward(logits[:0, 0], logits, target, None, 2.0, 0.25),
    ):
        with pytest.raises((RuntimeError, IndexError)):
            call()
