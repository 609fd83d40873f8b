"""RoIPool: row MM-248, and the pooling of detectron2's ROIPool."""

import math

import pytest
import torch

from okulo_ops import RoIPool, mmcv, roi_pool
from okulo_ops._operator import OPERATORS

INPUT = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
ROIS = torch.tensor(
    [[0, 1.0, 2.0, 17.0, 12.5], [1, 5.5, 3.25, 12.0, 15.0], [1, -8.0, -6.0, 25.5, 20.0]]
)


def spans(low, high, scale, bins, rounded, cells):
    if rounded:
        low, high = (math.floor(abs(v * scale) + 0.5) * math.copysign(1, v) for v in (low, high))
        size = max(high - low + 1, 1)
    else:
        low, size = low * scale, (high + 1) * scale - low * scale
    for i in range(bins):
        first, last = low + i * size / bins, low + (i + 1) * size / bins
        yield range(max(math.floor(first), 0), min(math.ceil(last), cells))


def reference(input, rois, size, scale, rounded):
    """Bin by bin in Python's float64."""
    output = torch.zeros(len(rois), input.shape[1], *size, dtype=torch.float64)
    for k, (image, x0, y0, x1, y1) in enumerate(rois.double().tolist()):
        for c, plane in enumerate(input[int(image)].double().tolist()):
            for i, rows in enumerate(spans(y0, y1, scale, size[0], rounded, len(plane))):
                columns = spans(x0, x1, scale, size[1], rounded, len(plane[0]))
                for j, row in enumerate(columns):
                    cells = [plane[y][x] for y in rows for x in row]
                    output[k, c, i, j] = max(cells, default=0)
    return output


@pytest.mark.parametrize("rounded", [True, False])
def test_contract(check_operator, device, rounded):
    features, rois = INPUT[:, :2, :4, :5].clone(), ROIS / 2
    rois[:, 0] = ROIS[:, 0]
    args = features, rois, 0.5, 2, 3, rounded
    check_operator("roi_pool", args, wrt=(0,), device=device)


def test_contract_without_boxes(check_operator, device):
    check_operator("roi_pool", (INPUT, ROIS[:0], 0.5, 2, 3, True), wrt=(0,), device=device)


@pytest.mark.parametrize("size", [(2, 3), (7, 7)], ids=str)
@pytest.mark.parametrize("rounded", [True, False])
def test_bins_are_maxima_of_cells(size, rounded):
    pool = roi_pool if rounded else mmcv.roi_pool
    expected = reference(INPUT, ROIS, size, 0.5, rounded)
    assert torch.equal(pool(INPUT, ROIS, size, 0.5).double(), expected)


@pytest.mark.shared
def test_rounded_boxes_agree_with_recorded_numbers(golden):
    features, rois = golden("roi_align/in/x"), golden("roi_align/in/rois")
    pooled = RoIPool((7, 7), 0.25)(features.float(), rois.float())
    torch.testing.assert_close(pooled, golden("roi_pool/out/y"), rtol=0, atol=0)


@pytest.mark.shared
@pytest.mark.parametrize(("case", "size", "scale"), [("3x2", (3, 2), 0.5), ("7x7", (7, 7), 0.25)])
def test_unrounded_boxes_agree_with_recorded_numbers(golden_mmcv, case, size, scale):
    golden, name = golden_mmcv("ops_from_definition"), f"roi_pool.{case}"
    features = golden(f"{name}.in0").requires_grad_()
    pooled = mmcv.RoIPool(size, scale)(features, golden(f"{name}.in1"))
    torch.testing.assert_close(pooled.double(), golden(f"{name}.out"), rtol=1e-6, atol=1e-6)
    pooled.backward(golden.weights(pooled))
    expected = golden(f"{name}.grad0")
    torch.testing.assert_close(features.grad.double(), expected, rtol=1e-5, atol=1e-5)


def test_published_example():
    rows = [[1.0, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]
    features = torch.tensor(rows)[None, None].requires_grad_()
    pooled = mmcv.roi_pool(features, torch.tensor([[0, 0.0, 0.0, 3.0, 3.0]]), 2)
    assert pooled.flatten().tolist() == [4, 8, 12, 16]
    pooled.sum().backward()
    assert features.grad.flatten().nonzero().flatten().tolist() == [5, 7, 13, 15]


@pytest.mark.parametrize("box", [[5.0, 2.0, 1.0, 6.0], [2.0, 7.0, 6.0, 3.0]])
def test_malformed_boxes_give_no_gradient(box):
    """mmcv gives their gradient to the first cell of the map."""
    features = INPUT.clone().requires_grad_()
    pooled = mmcv.roi_pool(features, torch.tensor([[0, *box]]), 2)
    assert not pooled.any()
    pooled.sum().backward()
    assert not features.grad.any()


def test_equal_cells_give_their_gradient_to_the_first():
    features = torch.zeros(1, 1, 3, 3, requires_grad=True)
    roi_pool(features, torch.tensor([[0, 0.0, 0.0, 2.0, 2.0]]), 1).sum().backward()
    assert features.grad.flatten().tolist() == [1] + [0] * 8


@pytest.mark.parametrize("rounded", [True, False])
def test_boxes_beyond_all_measure(rounded):
    rows = [[-1e9, -1e9, 1e9, 1e9], [1e30, 0, 2e30, 9], [float("nan"), 0, 1, 1]]
    rows += [[0, 0, float("inf"), 5], [float("-inf"), 0, 3, 4], [50, 50, 60, 60]]
    rois = torch.cat((torch.zeros(len(rows), 1), torch.tensor(rows)), dim=1)
    pool = roi_pool if rounded else mmcv.roi_pool
    pooled = pool(INPUT, rois, 2)
    assert pooled.isfinite().all()
    assert torch.equal(pooled, OPERATORS["roi_pool"](INPUT, rois, 1.0, 2, 2, rounded)[0])


def test_nan_wins():
    features = INPUT.clone()
    features[0, 0, 3, 4] = torch.nan
    pooled = roi_pool(features, torch.tensor([[0, 0.0, 0.0, 8.0, 7.0]]), 1)
    assert pooled[0, :, 0, 0].isnan().tolist() == [True, False, False]


def test_it_agrees_with_torchvision():
    torchvision = pytest.importorskip("torchvision.ops")
    ours = roi_pool(INPUT, ROIS, (3, 4), 0.5)
    assert torch.equal(ours, torchvision.roi_pool(INPUT, ROIS, (3, 4), 0.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": INPUT[0]}, r"input must have shape \(N, C, H, W\)"),
        ({"boxes": ROIS[:, 1:]}, r"must have shape \(N, 5\), got \(3, 4\)"),
        ({"input": INPUT[:1]}, "index one of the 1 images, got values from 0 to 1"),
        ({"output_size": 0}, "output_size must be 1 or more"),
    ],
    ids=["input", "boxes", "image", "size"],
)
def test_wrong_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        roi_pool(**({"input": INPUT, "boxes": ROIS, "output_size": 2} | change))


def test_the_kernel_refuses_images_outside():
    with pytest.raises(RuntimeError, match="index one of the 1 images, got 1"):
        torch.ops.okulo.roi_pool(INPUT[:1], ROIS, 1.0, 2, 2, True)
