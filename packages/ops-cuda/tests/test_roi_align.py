"""ROIAlign: rows D2-559, D2-560, MM-247; its fused form for pyramids."""

import math

import pytest
import torch

from okulo_ops import ROIAlign, RoIAlign, assign_levels, mmcv, roi_align, roi_align_levels
from okulo_ops._operator import OPERATORS


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


def mean(samples):
    return sum(samples) / max(len(samples), 1)


def reference(input, rois, size, scale, ratio, aligned, reduce=mean):
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
                    output[k, c, i, j] = reduce(
                        [
                            bilinear(
                                feature,
                                y0 + height / size[0] * (i + (a + 0.5) / rows),
                                x0 + width / size[1] * (j + (b + 0.5) / columns),
                            )
                            for a in range(rows)
                            for b in range(columns)
                        ]
                    )
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


def args_of(ratio=2, aligned=True, size=(2, 3)):
    rois = torch.tensor(
        [[0, 1.0, 2.0, 17.0, 14.5], [1, 3.5, 2.25, 12.0, 19.0], [0, -8.0, -6.0, 30.5, 25.0]]
    )
    features = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    return features, rois, 0.25, *size, ratio, aligned


@pytest.mark.parametrize("operator", ["roi_align", "roi_align_max"])
@pytest.mark.parametrize(("ratio", "aligned"), [(2, True), (0, False)])
def test_contract(check_operator, device, operator, ratio, aligned):
    check_operator(operator, args_of(ratio, aligned), wrt=(0,), device=device)


def test_contract_with_blocks_of_channels(check_operator, device):
    features, *rest = args_of(size=(2, 2))
    wide = torch.cat([features * (1 + i) for i in range(6)], dim=1)[:1, :17, :3, :4]
    rest[0] = rest[0][[0, 2]]
    check_operator("roi_align", (wide, *rest), wrt=(0,), device=device)


@pytest.mark.parametrize("operator", ["roi_align", "roi_align_max"])
def test_contract_without_boxes(check_operator, device, operator):
    features, rois, *settings = args_of()
    check_operator(operator, (features, rois[:0], *settings), wrt=(0,), device=device)


def test_contract_of_levels(check_operator, device):
    features, rois, _, *settings = args_of()
    coarse = features[..., ::2, ::2].contiguous()
    args = [features, coarse], rois, torch.tensor([1, 0, 0]), [0.25, 0.125], *settings
    check_operator("roi_align_levels", args, wrt=(0,), device=device)


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_maximum_of_bilinear_samples(ratio, aligned):
    pooled = roi_align(INPUT - 0.5, ROIS, (2, 5), 0.25, ratio, aligned, "max")
    expected = reference(INPUT - 0.5, ROIS, (2, 5), 0.25, ratio, aligned, reduce=max)
    torch.testing.assert_close(pooled.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.shared
@pytest.mark.parametrize("size", [(3, 3), (7, 5)], ids=str)
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [1, 0])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_mmcv_form_agrees_with_recorded_numbers(golden_mmcv, size, ratio, aligned, mode):
    golden = golden_mmcv("ops_roi")
    name = f"roi_align.{size[0]}x{size[1]}.s{ratio}.al{aligned}.{mode}"
    features, rois = golden(f"{name}.in0").requires_grad_(), golden(f"{name}.in1")
    pooled = mmcv.RoIAlign(size, 0.5, ratio, mode, bool(aligned))(features, rois)
    expected = golden(f"{name}.out")
    sampled = expected != -1e4  # what the origin leaves in a bin without samples
    assert (sampled.all(dim=1).all(dim=1).all(dim=1)).sum() >= 6
    torch.testing.assert_close(pooled * sampled, expected * sampled, rtol=1e-5, atol=1e-5)
    pooled.backward(golden.weights(pooled))
    gradient = golden(f"{name}.grad0")
    if not sampled.all():  # there, the origin gives the gradient of such bins to the corner
        features.grad[0, :, 0, 0] = gradient[0, :, 0, 0]
    torch.testing.assert_close(features.grad, gradient, rtol=1e-4, atol=1e-5)


def test_a_bin_without_samples_is_zero_and_gives_no_gradient():
    """mmcv's maximum then is a sentinel, and its gradient goes to the corner of the map."""
    features = INPUT.clone().requires_grad_()
    point = torch.tensor([[0, 5.0, 5.0, 5.0, 5.0]])
    for mode in ("avg", "max"):
        pooled = roi_align(features, point, 2, 1.0, 0, True, mode)
        assert (pooled == 0).all()
        assert not torch.autograd.grad(pooled.sum(), features)[0].any()


def test_a_sample_one_cell_outside_is_a_sample():
    """Its coordinates are (-1, -1), which mmcv also uses for "no sample"."""
    features = INPUT[:1].clone().requires_grad_()
    pooled = roi_align(features, torch.tensor([[0, -2.0, -2.0, 0.0, 0.0]]), 1, 1.0, 1, False, "max")
    assert torch.equal(pooled[0, :, 0, 0], features[0, :, 0, 0])
    gradient = torch.autograd.grad(pooled.sum(), features)[0]
    assert torch.equal(gradient[0, :, 0, 0], torch.ones(3))
    assert gradient.sum() == 3


def test_zero_outside_beats_negative_features():
    pooled = roi_align(
        -1 - INPUT, torch.tensor([[0, -9.0, -9.0, 9.0, 9.0]]), 2, 1.0, 2, True, "max"
    )
    assert (pooled[0, :, 0, 0] == 0).all()
    assert (pooled[0, :, 1, 1] < 0).all()


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_boxes_turned_inside_out(ratio, mode):
    """Adaptive sampling finds no samples in them, fixed sampling walks backwards."""
    box = torch.tensor([[0, 2.0, 1.0, 7.0, 6.0]])
    turned = box[:, [0, 3, 4, 1, 2]]
    pooled = roi_align(INPUT, turned, 3, 1.0, ratio, True, mode)
    if ratio == 0:
        assert not pooled.any()
    else:
        expected = roi_align(INPUT, box, 3, 1.0, ratio, True, mode).flip(2, 3)
        torch.testing.assert_close(pooled, expected)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("aligned", [True, False])
def test_boxes_beyond_all_measure(mode, aligned):
    """They take no longer and give no NaN; meaning and kernel agree."""
    rows = [[-1e9, -1e9, 1e9, 1e9], [1e30, 0, 2e30, 9], [0, 0, 1e6, 1e6], [-1e5, 2, 1e5, 3]]
    rows += [[float("nan"), 0, 1, 1], [0, 0, float("inf"), 5], [float("-inf"), 0, 3, 4]]
    rois = torch.cat((torch.zeros(len(rows), 1), torch.tensor(rows)), dim=1)
    pooled = roi_align(INPUT, rois, 3, 1.0, 0, aligned, mode)
    assert pooled.isfinite().all()
    meaning = OPERATORS["roi_align" if mode == "avg" else "roi_align_max"]
    expected = meaning(INPUT, rois, 1.0, 3, 3, 0, aligned)
    expected = expected[0] if mode == "max" else expected
    torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-6)


def test_boxes_keep_their_precision_beside_features_in_half():
    features = torch.zeros(1, 1, 4, 4000, dtype=torch.float16)
    features[..., 3001] = 1
    box = torch.tensor([[0, 3001.0, 0.0, 3002.0, 4.0]])  # float16 has only even numbers here
    assert roi_align(features, box, 1, 1.0, 1, True).item() == 1


def test_kernels_refuse_indices_outside():
    features, rois, *settings = args_of()
    for operator in (torch.ops.okulo.roi_align, torch.ops.okulo.roi_align_max):
        with pytest.raises(RuntimeError, match="index one of the 1 images, got 1"):
            operator(features[:1], rois, *settings)
    args = [features], rois, torch.tensor([0, 0, 1]), [0.25], *settings[1:]
    with pytest.raises(RuntimeError, match="index one of the 1 maps, got 1"):
        torch.ops.okulo.roi_align_levels(*args)


def pyramid():
    generator = torch.Generator().manual_seed(2)
    sizes = [(40, 48), (20, 24), (10, 12)]
    maps = [torch.randn(2, 20, *size, generator=generator) for size in sizes]
    corner, extent = (torch.rand(30, 2, generator=generator) for _ in range(2))
    corner, extent = corner * 100, extent.square() * 120
    image = torch.randint(0, 2, (30, 1), generator=generator).float()
    return maps, torch.cat((image, corner, corner + extent), dim=1)


def test_levels_in_one_call_are_the_levels_one_by_one():
    maps, rois = pyramid()
    levels = assign_levels(rois[:, 1:], 2, 4, 40, 3)
    assert set(levels.tolist()) == {0, 1, 2}
    scales = [1 / 4, 1 / 8, 1 / 16]
    pooled = roi_align_levels(maps, rois, levels, (3, 4), scales, 2, True)
    for k, level in enumerate(levels.tolist()):
        alone = roi_align(maps[level], rois[k : k + 1], (3, 4), scales[level], 2, True)
        torch.testing.assert_close(pooled[k : k + 1], alone, rtol=1e-6, atol=1e-6)


def test_level_of_a_box():
    """Eq. 1: the canonical size at its level, a box half as wide one below, limits kept."""
    sides = torch.tensor([224.0, 223.9, 112.0, 111.9, 448.0, 1.0, 5000.0, 0.0])
    boxes = torch.stack((sides * 0, sides * 0, sides, sides), dim=1)
    assert assign_levels(boxes, 2, 5).tolist() == [2, 1, 1, 0, 3, 0, 3, 0]
    assert assign_levels(boxes.half()[:2], 2, 5).dtype == torch.int64
    assert assign_levels(boxes[3:5, [2, 1, 0, 3]], 2, 5).tolist() == [0, 0]  # inside out
    assert assign_levels(boxes[:0], 2, 5).shape == (0,)


@pytest.mark.shared
@pytest.mark.parametrize("case", [(2, 5, 224, 4), (3, 5, 224, 4), (2, 6, 100, 3)])
def test_recorded_levels(golden, case):
    name = f"level_assign/{'_'.join(map(str, case))}"
    boxes = torch.cat((golden(f"{name}/in/b0"), golden(f"{name}/in/b1")))
    assert torch.equal(assign_levels(boxes, *case), golden(f"{name}/out/levels"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": []}, "one entry for each level, at least one, got 0 and 3"),
        ({"scales": [1.0]}, "got 3 and 1"),
        ({"levels": torch.zeros(30)}, r"int64 of shape \(30,\).*got torch.float32"),
        ({"levels": torch.zeros(3).long()}, r"of shape \(3,\)"),
    ],
    ids=["no level", "scales", "dtype", "count"],
)
def test_wrong_levels_are_refused(change, message):
    maps, rois = pyramid()
    arguments = {"features": maps, "levels": torch.zeros(30).long(), "scales": [1.0] * 3}
    arguments = arguments | {"boxes": rois, "output_size": 2} | change
    with pytest.raises(ValueError, match=message):
        roi_align_levels(**arguments)


def test_levels_that_differ_are_refused():
    maps, rois = pyramid()
    levels = torch.zeros(30, dtype=torch.int64)
    with pytest.raises(ValueError, match="must agree in images, channels and dtype"):
        roi_align_levels([maps[0], maps[1][:, :3]], rois, levels, 2, [1.0, 0.5])


@pytest.mark.parametrize("ratio", [0, 2])
def test_it_agrees_with_torchvision(ratio):
    torchvision = pytest.importorskip("torchvision.ops")
    maps, rois = pyramid()
    features = maps[0].requires_grad_()
    args = (7, 5), 0.25, ratio, True
    ours = roi_align(features, rois, *args)
    theirs = torchvision.roi_align(features, rois, *args)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    weight = torch.randn(ours.shape)
    pair = (torch.autograd.grad((each * weight).sum(), features)[0] for each in (ours, theirs))
    torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-4)
