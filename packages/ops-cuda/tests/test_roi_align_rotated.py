"""D2-561, D2-562, MM-263: ROIAlign of rotated boxes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from okulo_ops import ROIAlignRotated, mmcv, roi_align, roi_align_rotated

INPUT = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
ROIS = torch.tensor(
    [
        [0, 15.0, 14.0, 20.0, 13.0, 30.0],
        [1, 20.5, 3.25, 40.0, 31.0, -125.0],
        [0, -2.0, 40.0, 9.0, 0.0, 90.0],
    ]
)


def bilinear(feature, y, x):
    height, width = feature.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    total = 0.0
    for row in {math.floor(y), math.ceil(y)}:
        for column in {math.floor(x), math.ceil(x)}:
            share = (1 - abs(y - row)) * (1 - abs(x - column))
            total += share * feature[row, column].item()
    return total


def reference(input, rois, size, scale, ratio):
    """Sample by sample in float64; rotation by complex numbers."""
    output = torch.zeros(len(rois), input.shape[1], *size, dtype=torch.float64)
    for k, (image, cx, cy, w, h, degrees) in enumerate(rois.double().tolist()):
        turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
        rows = ratio or math.ceil(h * scale / size[0])
        columns = ratio or math.ceil(w * scale / size[1])
        for index in torch.cartesian_prod(*map(torch.arange, output.shape[1:])).tolist():
            c, i, j = index
            values = []
            for a in range(rows):
                for b in range(columns):
                    u = ((j + (b + 0.5) / columns) / size[1] - 0.5) * w
                    v = ((i + (a + 0.5) / rows) / size[0] - 0.5) * h
                    up = complex(u, -v) * turn  # y points up in this plane
                    x, y = (cx + up.real) * scale - 0.5, (cy - up.imag) * scale - 0.5
                    values.append(bilinear(input[int(image), c].double(), y, x))
            output[k, c, i, j] = sum(values) / max(len(values), 1)
    return output


@pytest.mark.parametrize(("ratio", "aligned"), [(0, True), (2, False)])
def test_contract(check_operator, device, ratio, aligned):
    rois = ROIS.clone()
    rois[:, 5] = torch.tensor([0.5, -2.0, 1.25])
    args = INPUT[:, :2, :5, :6], rois, 2, 3, 0.25, ratio, aligned
    check_operator("roi_align_rotated", args, wrt=(0,), device=device)


@pytest.mark.parametrize("images", [0, 2])
def test_contract_without_boxes(check_operator, device, images):
    args = torch.zeros(images, 3, 4, 5), torch.zeros(0, 6), 2, 2, 1.0, 0, True
    check_operator("roi_align_rotated", args, wrt=(0,), device=device)


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("size", [(3, 3), (2, 4)], ids=str)
def test_bins_are_means_of_bilinear_samples(ratio, size, device):
    pooled = roi_align_rotated(INPUT.to(device), ROIS.to(device), size, 0.25, ratio)
    expected = reference(INPUT, ROIS, size, 0.25, ratio)
    torch.testing.assert_close(pooled.cpu().double(), expected, rtol=0, atol=1e-5)


def test_many_channels_and_bins_are_summed_alike():
    features = torch.rand(2, 37, 6, 7, dtype=torch.float64)
    pooled = roi_align_rotated(features, ROIS.double(), (7, 9), 0.25, 2)
    for c in (0, 17, 36):
        alone = roi_align_rotated(features[:, c : c + 1], ROIS.double(), (7, 9), 0.25, 2)
        torch.testing.assert_close(pooled[:, c : c + 1], alone, rtol=0, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 40), st.floats(-5, 40), st.floats(0, 50), st.floats(0, 50), st.integers(-1, 3))
def test_an_upright_box_is_pooled_as_by_roi_align(cx, cy, w, h, ratio):
    upright = torch.tensor([[1, cx, cy, w, h, 0]], dtype=torch.float64)
    corners = torch.tensor([[1, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]]).double()
    ratio = 2 if ratio <= 0 and (w + h) > 0 else ratio  # rounding may add a sample to a bin
    ours = roi_align_rotated(INPUT.double(), upright, (2, 3), 0.25, ratio)
    expected = roi_align(INPUT.double(), corners, (2, 3), 0.25, ratio, aligned=True)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_pool_the_turned_image(quarters):
    image = INPUT[:1, :, :, :9]
    roi = torch.tensor([[0.0, 4.5, 4.5, 5.0, 4.0, 0.0]])
    turned = torch.rot90(image, -quarters, dims=(2, 3))
    box = roi.clone()
    box[:, 5] = 90 * quarters
    torch.testing.assert_close(
        roi_align_rotated(image, box, (4, 5), 1.0, 2),
        roi_align_rotated(turned, roi, (4, 5), 1.0, 2),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32_with_boxes_in_float32(dtype):
    far = ROIS + torch.tensor([0, 4000.25, 4000.25, 0, 0, 0])  # float16 rounds this to 4000
    scale = 9 / 4040
    pooled = roi_align_rotated(INPUT.to(dtype), far, 3, scale, 2)
    exact = roi_align_rotated(INPUT.to(dtype).float(), far, 3, scale, 2)
    assert torch.equal(pooled, exact.to(dtype))


def test_what_lies_outside_is_zero_and_the_border_reaches_one_pixel():
    ones = torch.ones(1, 1, 4, 4)
    rois = torch.tensor([[0, 1e6, 2, 4, 4, 10.0], [0, -0.4, 2, 0, 0, 0], [0, -0.6, 2, 0, 0, 0]])
    assert roi_align_rotated(ones, rois, 1, 1.0, 1).flatten().tolist() == [0, 1, 0]


def test_a_box_without_a_place_pools_zeros():
    rois = torch.tensor([[0, torch.nan, 1, 2, 2, 0], [0, 1, torch.inf, 2, 2, torch.nan]])
    assert roi_align_rotated(torch.ones(1, 1, 4, 4), rois, 2, 1.0, 2).eq(0).all()


@pytest.mark.shared
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ["sr0_7x7", "sr0_2x4", "sr2_7x7", "sr2_2x4"])
def test_output_and_gradient_are_those_of_detectron2(golden, dtype, case, device):
    name = f"roi_align_rotated/{dtype}/{case}"
    features = golden("roi_align_rotated/in/x").to(device, getattr(torch, dtype)).requires_grad_()
    rois = golden("roi_align_rotated/in/rois").to(device)
    pooled = ROIAlignRotated(**golden.settings[name])(features, rois)
    weights = torch.arange(pooled.numel(), dtype=torch.float64).cos().to(pooled)
    (gradient,) = torch.autograd.grad((pooled.flatten() * weights).sum(), features)
    allowance = 2e-5 if dtype == "float32" else 1e-10
    for ours, key in ((pooled.detach(), "y"), (gradient, "grad_x")):
        expected = golden(f"{name}/out/{key}")
        torch.testing.assert_close(ours.cpu(), expected, rtol=allowance, atol=allowance)


@pytest.mark.shared
@pytest.mark.parametrize("clockwise", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("size", [(3, 3), (7, 5)], ids=str)
def test_output_and_gradient_are_those_of_mmcv(golden_mmcv, size, ratio, aligned, clockwise):
    golden = golden_mmcv("ops_roi")
    name = f"roi_align_rotated.{size[0]}x{size[1]}.s{ratio}.al{aligned:d}.cw{clockwise:d}"
    features = golden(f"{name}.in0").requires_grad_()
    pool = mmcv.RoIAlignRotated(size, 0.5, ratio, aligned, clockwise)
    pooled = pool(features, golden(f"{name}.in1"))
    torch.testing.assert_close(pooled, golden(f"{name}.out"), rtol=1e-5, atol=1e-5)
    pooled.backward(golden.weights(pooled))
    torch.testing.assert_close(features.grad, golden(f"{name}.grad0"), rtol=1e-4, atol=1e-4)


def test_mmcv_names_of_arguments_old_and_new():
    rois = torch.cat((ROIS[:, :5], ROIS[:, 5:].deg2rad()), dim=1)
    expected = roi_align_rotated(INPUT, ROIS, 3, 0.25, 2)
    old = mmcv.RoIAlignRotated(out_size=3, spatial_scale=0.25, sample_num=2)
    new = mmcv.RoIAlignRotated(output_size=3, spatial_scale=0.25, sampling_ratio=2)
    for pooled in (old(INPUT, rois), new(INPUT, rois)):
        torch.testing.assert_close(pooled, expected)
    by_name = mmcv.roi_align_rotated(features=INPUT, rois=rois, out_size=3, spatial_scale=0.25)
    assert torch.equal(by_name, mmcv.roi_align_rotated(INPUT, rois, 3, 0.25))
    with pytest.raises(TypeError, match="output_size and out_size are one argument, got both"):
        mmcv.RoIAlignRotated(output_size=3, out_size=3, spatial_scale=1.0)


def test_repr_names_the_settings():
    assert repr(ROIAlignRotated((7, 7), 0.25, 2)) == (
        "ROIAlignRotated(output_size=(7, 7), spatial_scale=0.25, sampling_ratio=2)"
    )
    assert repr(mmcv.RoIAlignRotated(7, 0.25)) == (
        "RoIAlignRotated(output_size=7, spatial_scale=0.25, sampling_ratio=0, aligned=True, "
        "clockwise=False)"
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"input": INPUT[0]},
            ValueError,
            r"input must have shape \(N, C, H, W\).*got \(3, 9, 11\)",
        ),
        ({"input": INPUT[:, :, :0]}, ValueError, r"H and W of 1 or more, got \(2, 3, 0, 11\)"),
        ({"input": INPUT.byte()}, TypeError, "input must be floating point, got torch.uint8"),
        ({"rois": ROIS[:, :5]}, ValueError, r"rois must have shape \(N, 6\), got \(3, 5\)"),
        ({"rois": ROIS + 1}, ValueError, "index one of the 2 images, got values from 1 to 2"),
        ({"rois": ROIS * -1}, ValueError, "index one of the 2 images, got values from -1 to -0"),
        ({"output_size": 0}, ValueError, "output_size must be 1 or more, .* got 0"),
        ({"output_size": (2, 2, 2)}, ValueError, r"two such numbers, got \(2, 2, 2\)"),
    ],
)
def test_refused_input_says_what_was_expected(change, error, message):
    arguments = {"input": INPUT, "rois": ROIS, "output_size": 2}
    with pytest.raises(error, match=message):
        roi_align_rotated(**(arguments | change), spatial_scale=1.0, sampling_ratio=0)


@pytest.mark.parametrize("size", [-13.0, torch.inf, torch.nan])
def test_negative_and_infinite_sizes_are_refused(size):
    rois = ROIS.clone()
    rois[0, 4] = size
    with pytest.raises(ValueError, match="sizes of rois must be finite and 0 or more"):
        roi_align_rotated(INPUT, rois, 2, 1.0, 0)


def test_the_kernel_reads_no_image_outside_the_batch():
    rois = ROIS + 1
    with pytest.raises((RuntimeError, IndexError)):
        torch.ops.okulo.roi_align_rotated(INPUT, rois, 2, 2, 1.0, 2, True)


def test_a_box_far_larger_than_the_map_is_sampled_where_the_map_is():
    rois = torch.tensor([[0, 6.0, 4.0, 160.0, 90.0, 33.0], [1, -30.0, 25.0, 120.0, 70.0, -70.0]])
    expected = reference(INPUT, rois, (2, 2), 1.0, 0)
    pooled = roi_align_rotated(INPUT, rois, 2, 1.0, 0)
    torch.testing.assert_close(pooled.double(), expected, rtol=1e-4, atol=1e-6)
    huge = rois * torch.tensor(
        [1, 1, 1, 1e5, 1e5, 1]
    )  # 10^13 samples a bin, few of them on the map
    assert roi_align_rotated(INPUT, huge, 2, 1.0, 0).isfinite().all()
