"""ROIAlign: rows D2-559, D2-560."""

import math

import pytest
import torch

from okulo_ops import ROIAlign, RoIAlign, roi_align


def bilinear(feature, y, x):
    """Value of a (H, W) list of lists at index coordinates, as ROIAlign defines it."""
    height, width = len(feature), len(feature[0])
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    fy, fx = y - y0, x - x0
    top = feature[y0][x0] * (1 - fx) + feature[y0][x1] * fx
    bottom = feature[y1][x0] * (1 - fx) + feature[y1][x1] * fx
    return top * (1 - fy) + bottom * fy


def reference(input, rois, size, scale, ratio, aligned):
    """Bin by bin and sample by sample, in Python's float64."""
    output = torch.zeros(len(rois), input.shape[1], *size, dtype=torch.float64)
    features = input.double().tolist()
    for k, (image, *box) in enumerate(rois.double().tolist()):
        x0, y0, x1, y1 = (value * scale - (0.5 if aligned else 0) for value in box)
        width, height = x1 - x0, y1 - y0
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        rows = ratio if ratio > 0 else math.ceil(height / size[0])
        columns = ratio if ratio > 0 else math.ceil(width / size[1])
        for c, feature in enumerate(features[int(image)]):
            for i in range(size[0]):
                for j in range(size[1]):
                    output[k, c, i, j] = sum(
                        bilinear(
                            feature,
                            y0 + height / size[0] * (i + (a + 0.5) / rows),
                            x0 + width / size[1] * (j + (b + 0.5) / columns),
                        )
                        for a in range(rows)
                        for b in range(columns)
                    ) / max(rows * columns, 1)
    return output


INPUT = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
ROIS = torch.tensor(
    [[0, 1.0, 2.0, 30.0, 25.0], [1, 10.5, 3.25, 20.0, 31.0], [0, -8.0, -6.0, 60.0, 50.0]]
)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("size", [(4, 4), (2, 5)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_bins_are_means_of_bilinear_samples(aligned, ratio, size, dtype):
    pooled = roi_align(INPUT.to(dtype), ROIS, size, 0.25, ratio, aligned)
    expected = reference(INPUT, ROIS, size, 0.25, ratio, aligned)
    allowance = 1e-5 if dtype == torch.float32 else 1e-6  # the boxes are float32
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.double(), expected, rtol=0, atol=allowance)


@pytest.mark.parametrize(
    ("aligned", "first_row"), [(True, [4.5, 5.0, 5.5, 6.0]), (False, [7.5, 8.0, 8.5, 9.0])]
)
def test_the_half_cell_of_the_older_rule(aligned, first_row):
    image = torch.arange(25.0).reshape(1, 1, 5, 5)
    pool = ROIAlign((4, 4), 1.0, 0, aligned=aligned)
    assert pool(image, torch.tensor([[0.0, 1, 1, 3, 3]]))[0, 0, 0].tolist() == first_row


def test_defaults_differ_between_function_and_module():
    image, roi = torch.arange(25.0).reshape(1, 1, 5, 5), torch.tensor([[0.0, 1, 1, 3, 3]])
    assert roi_align(image, roi, 4)[0, 0, 0, 0] == 7.5
    assert ROIAlign(4, 1.0, 0)(image, roi)[0, 0, 0, 0] == 4.5
    assert RoIAlign is ROIAlign


def test_a_list_of_boxes_for_each_image_is_the_same_as_rows_with_an_index():
    boxes = [ROIS[[0, 2], 1:], ROIS[[1], 1:]]
    rows = ROIS[[0, 2, 1]]
    assert torch.equal(roi_align(INPUT, boxes, 3, 0.25), roi_align(INPUT, rows, 3, 0.25))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype):
    features = INPUT.to(dtype)
    pooled = roi_align(features, ROIS, 3, 0.25, 2, True)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, roi_align(features.float(), ROIS, 3, 0.25, 2, True).to(dtype))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_a_quantised_input_is_dequantised():
    features = torch.quantize_per_tensor(INPUT, scale=1 / 128, zero_point=0, dtype=torch.quint8)
    pool = ROIAlign(3, 0.25, 0)
    assert torch.equal(pool(features, ROIS), pool(features.dequantize(), ROIS))


def test_gradient_goes_to_the_input():
    features = INPUT[:, :1, :4, :5].double().requires_grad_()
    rois = torch.tensor([[0, 1.0, 2.0, 12.0, 14.0], [1, 0.5, 3.25, 16.0, 9.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: roi_align(x, rois, (2, 3), 0.25, 2, True), features)


@pytest.mark.parametrize("images", [0, 2])
def test_no_boxes_keep_their_shape(images):
    features = torch.zeros(images, 3, 9, 9)
    assert tuple(roi_align(features, torch.zeros(0, 5), (2, 4)).shape) == (0, 3, 2, 4)
    assert tuple(roi_align(features, [torch.zeros(0, 4)] * images, 2).shape) == (0, 3, 2, 2)


def test_repr_names_the_settings():
    text = repr(ROIAlign((7, 7), 0.25, 2))
    assert (
        text == "ROIAlign(output_size=(7, 7), spatial_scale=0.25, sampling_ratio=2, aligned=True)"
    )


def test_it_compiles_as_one_graph():
    compiled = torch.compile(roi_align, fullgraph=True, backend="eager")
    assert torch.equal(compiled(INPUT, ROIS, 3, 0.25), roi_align(INPUT, ROIS, 3, 0.25))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", "7x7"), ("float32", "3x5"), ("float64", "7x7")]
)
@pytest.mark.parametrize("aligned", [1, 0])
@pytest.mark.parametrize("ratio", [0, 2])
def test_output_and_gradient_agree_with_the_recorded_ones(golden, dtype, aligned, ratio, size):
    case = f"roi_align/{dtype}/aligned{aligned}_sr{ratio}_{size}"
    features = golden("roi_align/in/x").to(getattr(torch, dtype)).requires_grad_()
    pooled = roi_align(features, golden("roi_align/in/rois"), **golden.settings[case])
    weights = torch.arange(pooled.numel(), dtype=torch.float64).cos().to(pooled)
    (gradient,) = torch.autograd.grad((pooled.flatten() * weights).sum(), features)
    allowance = 1e-5 if dtype == "float32" else 1e-10
    for ours, name in ((pooled.detach(), "y"), (gradient, "grad_x")):
        torch.testing.assert_close(
            ours, golden(f"{case}/out/{name}"), rtol=allowance, atol=allowance
        )


@pytest.mark.parametrize(
    ("input", "boxes", "error", "message"),
    [
        (torch.zeros(3, 9, 9), ROIS, ValueError, r"shape \(N, C, H, W\), got \(3, 9, 9\)"),
        (torch.zeros(1, 1, 9, 9).byte(), ROIS, TypeError, "floating point, got torch.uint8"),
        (INPUT, ROIS[:, 1:], ValueError, r"boxes must have shape \(N, 5\), got \(3, 4\)"),
        (INPUT, [ROIS[:, 1:]], ValueError, "each of the 2 images, got 1"),
        (INPUT[:1], ROIS, ValueError, "index one of the 1 images, got values from 0 to 1"),
        (INPUT, ROIS - 1, ValueError, "index one of the 2 images, got values from -1 to 0"),
    ],
    ids=["3-d", "integer", "no index", "too few lists", "index too high", "index negative"],
)
def test_wrong_input_is_refused(input, boxes, error, message):
    with pytest.raises(error, match=message):
        roi_align(input, boxes, 2)


def test_the_module_takes_rows_with_an_index_only():
    with pytest.raises(ValueError, match=r"rois must have shape \(N, 5\), got \(3, 4\)"):
        ROIAlign(2, 1.0, 0)(INPUT, ROIS[:, 1:])
