"""MM-267: maxima along the borders of boxes."""

import pytest
import torch

from okulo_ops import BorderAlign, border_align

INPUT = torch.rand(2, 8, 6, 7, generator=torch.Generator().manual_seed(0))
BOXES = torch.tensor(
    [
        [[0.3, 0.6, 4.2, 3.9], [-0.5, -3.0, 6.7, 5.5], [2.0, 2.0, 2.0, 2.0]],
        [[1.1, 2.2, 3.7, 5.9], [5.0, 4.0, 1.0, 0.5], [40.0, 40.0, 60.0, 60.0]],
    ]
)


def bilinear(feature, y, x):
    height, width = feature.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    rows = 1 - (torch.arange(height).double() - y).abs().clamp(max=1)
    columns = 1 - (torch.arange(width).double() - x).abs().clamp(max=1)
    return (rows @ feature.double() @ columns).item()


def reference(input, boxes, pool_size):
    """Border by border and point by point in float64."""
    channels = input.shape[1] // 4
    out = torch.zeros(len(input), channels, boxes.shape[1], 4, dtype=torch.float64)
    for n, c, k in torch.cartesian_prod(*map(torch.arange, out.shape[:3])).tolist():
        x0, y0, x1, y1 = boxes[n, k].tolist()
        tour = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        for border, (a, b) in enumerate(((0, 1), (0, 3), (2, 3), (2, 1))):
            feature = input[n, border * channels + c]
            shares = [i / pool_size for i in range(pool_size + 1)]
            points = [
                [p + (q - p) * s for p, q in zip(tour[a], tour[b], strict=True)] for s in shares
            ]
            out[n, c, k, border] = max(bilinear(feature, y, x) for x, y in points)
    return out


@pytest.mark.parametrize("pool_size", [1, 4])
def test_contract(check_operator, device, pool_size):
    boxes = BOXES[:, :2] + 0.017  # no two points of a border have one value
    args = INPUT[:, ::2, :4, :5], boxes, pool_size
    check_operator("border_align", args, wrt=(0,), device=device)


@pytest.mark.parametrize("images", [0, 2])
def test_contract_without_boxes(check_operator, device, images):
    args = INPUT[:images], torch.zeros(images, 0, 4), 3
    check_operator("border_align", args, wrt=(0,), device=device)


@pytest.mark.parametrize("pool_size", [1, 2, 10])
def test_borders_are_walked_from_corner_to_corner(pool_size, device):
    aligned = border_align(INPUT.to(device), BOXES.to(device), pool_size).cpu()
    expected = reference(INPUT, BOXES, pool_size)
    torch.testing.assert_close(aligned.double(), expected, rtol=0, atol=1e-5)


def test_many_boxes_and_channels_are_kept_apart():
    input = torch.rand(1, 4 * 37, 6, 7, dtype=torch.float64)
    boxes = torch.rand(1, 21, 4, dtype=torch.float64) * 5
    aligned = border_align(input, boxes, 3)
    for c, k in ((0, 0), (36, 20), (11, 8)):
        alone = border_align(input[:, c::37], boxes[:, k : k + 1], 3)
        assert torch.equal(aligned[:, c, k], alone[:, 0, 0])


def test_the_first_of_equal_maxima_gets_the_gradient(device):
    input = torch.ones(1, 4, 3, 3, device=device, requires_grad=True)
    boxes = torch.tensor([[[0.0, 0.0, 2.0, 2.0]]], device=device)
    border_align(input, boxes, 2).sum().backward()
    where = [tuple(p) for p in input.grad[0].nonzero().tolist()]
    assert where == [(0, 0, 0), (1, 0, 0), (2, 2, 2), (3, 2, 2)]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_boxes_without_a_place_are_zero(value):
    aligned = border_align(INPUT, torch.full((2, 1, 4), value), 2)
    assert aligned.eq(0).all()


@pytest.mark.shared
@pytest.mark.parametrize("pool_size", [1, 3, 10])
def test_recorded_numbers(golden_mmcv, pool_size):
    golden, name = golden_mmcv("ops_from_definition"), f"border_align.p{pool_size}"
    input = golden(f"{name}.in0").requires_grad_()
    aligned = BorderAlign(pool_size)(input, golden(f"{name}.in1"))
    torch.testing.assert_close(aligned.double(), golden(f"{name}.out"), rtol=1e-4, atol=1e-4)
    aligned.backward(golden.weights(aligned))
    torch.testing.assert_close(input.grad.double(), golden(f"{name}.grad0"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": INPUT[:, :6]}, "as many channels for each of the 4 borders, got 6"),
        ({"boxes": BOXES[:1]}, r"boxes must have shape \(2, K, 4\), got \(1, 3, 4\)"),
        ({"pool_size": 0}, "pool_size must be 1 or more, got 0"),
    ],
)
def test_refused_input_says_what_was_expected(change, message):
    arguments = {"input": INPUT, "boxes": BOXES, "pool_size": 2}
    with pytest.raises(ValueError, match=message):
        border_align(**(arguments | change))
