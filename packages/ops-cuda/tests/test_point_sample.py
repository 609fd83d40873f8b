"""MM-253, MM-254, MM-255: features at points."""

import pytest
import torch
import torch.nn.functional as F

from okulo_ops import (
    SimpleRoIAlign,
    abs_img_point_to_rel_img_point,
    point_sample,
    rel_roi_point_to_abs_img_point,
    rel_roi_point_to_rel_img_point,
)

FEATURES = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
ROIS = torch.tensor([[1, 2.0, 1.0, 12.0, 9.0], [0, -4.0, 0.0, 8.0, 40.0], [1, 5.0, 3.0, 5.0, 3.0]])


def test_the_middle_of_a_feature_is_the_feature():
    y, x = torch.meshgrid(torch.arange(6), torch.arange(8), indexing="ij")
    points = torch.stack(((x + 0.5) / 8, (y + 0.5) / 6), dim=2).expand(2, 6, 8, 2)
    torch.testing.assert_close(point_sample(FEATURES, points), FEATURES)
    flat = point_sample(FEATURES, points.flatten(1, 2))
    torch.testing.assert_close(flat, FEATURES.flatten(2))


def test_corners_are_those_of_the_map_or_the_centres_of_its_corner_features():
    corners = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]).expand(2, 2, 2)
    quarter = torch.stack((FEATURES[:, :, 0, 0], FEATURES[:, :, -1, -1]), dim=2)
    torch.testing.assert_close(point_sample(FEATURES, corners), quarter / 4)
    torch.testing.assert_close(point_sample(FEATURES, corners, align_corners=True), quarter)
    torch.testing.assert_close(point_sample(FEATURES, corners, padding_mode="border"), quarter)


def test_half_precision_features_keep_float32_points():
    points = torch.rand(2, 50, 2)
    sampled = point_sample(FEATURES.half(), points)
    assert sampled.dtype == torch.float16
    assert torch.equal(sampled, point_sample(FEATURES.half().float(), points).half())


def test_no_points_and_no_images():
    assert point_sample(FEATURES, torch.zeros(2, 0, 2)).shape == (2, 3, 0)
    assert point_sample(FEATURES[:0], torch.zeros(0, 5, 2)).shape == (0, 3, 5)


def test_points_from_box_to_image():
    points = torch.tensor([[[0.0, 0.0], [1.0, 0.5]]]).expand(3, 2, 2)
    absolute = rel_roi_point_to_abs_img_point(ROIS, points)
    assert absolute[0].tolist() == [[2, 1], [12, 5]]
    assert torch.equal(absolute, rel_roi_point_to_abs_img_point(ROIS[:, 1:], points))
    relative = abs_img_point_to_rel_img_point(absolute, (20, 10), spatial_scale=0.5)
    torch.testing.assert_close(relative[0], torch.tensor([[0.1, 0.025], [0.6, 0.125]]))
    image = torch.zeros(1, 3, 20, 10)
    assert torch.equal(rel_roi_point_to_rel_img_point(ROIS, points, image, 0.5), relative)


def test_boxes_get_no_gradient():
    rois, points = ROIS.clone().requires_grad_(), torch.rand(3, 4, 2, requires_grad=True)
    rel_roi_point_to_rel_img_point(rois, points, (9, 9)).sum().backward()
    assert rois.grad is None
    assert points.grad is not None


@pytest.mark.parametrize("aligned", [True, False])
def test_bins_are_sampled_in_the_middle(aligned):
    pooled = SimpleRoIAlign((2, 3), 0.5, aligned)(FEATURES, ROIS)
    for k, (image, x0, y0, x1, y1) in enumerate(ROIS.tolist()):
        for i in range(2):
            for j in range(3):
                x = (x0 + (x1 - x0) * (j + 0.5) / 3) * 0.5 / 8 * 2 - 1
                y = (y0 + (y1 - y0) * (i + 0.5) / 2) * 0.5 / 6 * 2 - 1
                grid, of = torch.tensor([[[[x, y]]]]), FEATURES[int(image)][None]
                expected = F.grid_sample(of, grid, align_corners=not aligned).flatten()
                torch.testing.assert_close(pooled[k, :, i, j], expected, rtol=1e-4, atol=1e-5)


def test_boxes_need_not_be_sorted_by_image():
    pool = SimpleRoIAlign(2, 0.5)
    pooled = pool(FEATURES, ROIS)
    for k in range(3):
        assert torch.equal(pooled[k], pool(FEATURES, ROIS[k : k + 1])[0])


@pytest.mark.parametrize("images", [0, 2])
def test_no_boxes_keep_their_shape(images):
    assert SimpleRoIAlign((2, 3), 1.0)(FEATURES[:images], ROIS[:0]).shape == (0, 3, 2, 3)


def test_far_points_are_zero():
    rois = torch.tensor([[0, 1e30, 0, 1e30, 1], [0, torch.nan, 0, 1, torch.inf]])
    assert SimpleRoIAlign(2, 1.0)(FEATURES, rois).eq(0).all()


def test_the_gradient_is_the_derivative():
    features = FEATURES[:, :1, :3, :4].double().requires_grad_()
    pool = SimpleRoIAlign(2, 0.25)
    assert torch.autograd.gradcheck(lambda x: pool(x, ROIS.double()), features)
    assert torch.autograd.gradgradcheck(lambda x: pool(x, ROIS.double()), features)


def test_it_compiles_as_one_graph():
    pool = SimpleRoIAlign(2, 0.5)
    compiled = torch.compile(pool, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(FEATURES, ROIS), pool(FEATURES, ROIS))


@pytest.mark.shared
@pytest.mark.parametrize(("case", "corners"), [("ac0", False), ("ac1", True), ("grid", False)])
def test_recorded_samples(golden_mmcv, case, corners):
    golden = golden_mmcv("ops_roi")
    features = golden(f"point_sample.{case}.in0").requires_grad_()
    sampled = point_sample(features, golden(f"point_sample.{case}.in1"), corners)
    torch.testing.assert_close(sampled, golden(f"point_sample.{case}.out"))
    sampled.backward(golden.weights(sampled))
    expected = golden(f"point_sample.{case}.grad0")
    torch.testing.assert_close(features.grad, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.shared
@pytest.mark.parametrize("aligned", [True, False])
def test_recorded_pooling(golden_mmcv, aligned):
    golden, name = golden_mmcv("ops_roi"), f"SimpleRoIAlign.al{aligned:d}"
    features = golden(f"{name}.in0").requires_grad_()
    pooled = SimpleRoIAlign((3, 4), 0.5, aligned)(features, golden(f"{name}.in1"))
    torch.testing.assert_close(pooled, golden(f"{name}.out"), rtol=1e-5, atol=1e-5)
    pooled.backward(golden.weights(pooled))
    torch.testing.assert_close(features.grad, golden(f"{name}.grad0"), rtol=1e-4, atol=1e-5)


@pytest.mark.shared
def test_recorded_points(golden_mmcv):
    golden, name = golden_mmcv("ops_roi"), "rel_roi_point_to_rel_img_point"
    points = rel_roi_point_to_rel_img_point(
        golden(f"{name}.in0"), golden(f"{name}.in1"), (40, 50), spatial_scale=0.5
    )
    torch.testing.assert_close(points, golden(f"{name}.out"))


def test_refused_input_says_what_was_expected():
    with pytest.raises(ValueError, match=r"points must have shape \(2, P, 2\).*got \(2, 2\)"):
        point_sample(FEATURES, torch.zeros(2, 2))
    with pytest.raises(
        ValueError, match=r"rois must have shape \(K, 4\) or \(K, 5\), got \(3, 3\)"
    ):
        rel_roi_point_to_abs_img_point(ROIS[:, :3], torch.zeros(3, 1, 2))
    with pytest.raises(ValueError, match=r"shape \(3, P, 2\), got \(2, 1, 2\)"):
        rel_roi_point_to_abs_img_point(ROIS, torch.zeros(2, 1, 2))
    with pytest.raises(ValueError, match="index one of the 1 images, got values from 0 to 1"):
        SimpleRoIAlign(2, 1.0)(FEATURES[:1], ROIS)
