"""MM-238: sigmoid focal loss."""

import pytest
import torch

from okulo_ops import SigmoidFocalLoss, sigmoid_focal_loss


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


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_entries_are_those_of_the_paper(gamma):
    logits, target, weight = sample(dtype=torch.float64)
    ours = sigmoid_focal_loss(logits, target, gamma, 0.25, weight, "none")
    torch.testing.assert_close(ours, reference(logits, target, weight, gamma, 0.25))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "gamma", "alpha"),
    [("g2.a0.25", 2, 0.25), ("g1.5.a0.6", 1.5, 0.6), ("background", 2, 0.25), ("weight", 2, 0.25)],
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
