"""Section 19: box_iou_quadri, nms_quadri, convex_iou, convex_giou, min_area_polygons,
points_in_polygons."""

import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_ops import (
    box_iou_quadri,
    convex_giou,
    convex_iou,
    min_area_polygons,
    nms_quadri,
    points_in_polygons,
)
from okulo_ops._operator import OPERATORS
from okulo_ops._polygon_overlap import polygon_area


def quads(count, seed, reach=10.0):
    """Simple quadrilaterals, some not convex: corners at increasing angles about a centre."""
    generator = torch.Generator().manual_seed(seed)
    turns = (
        torch.rand(count, 4, generator=generator, dtype=torch.float64) * 0.2 + torch.arange(4) / 4
    )
    radius = 1 + 5 * torch.rand(count, 4, generator=generator, dtype=torch.float64)
    center = reach * torch.rand(count, 1, 2, generator=generator, dtype=torch.float64)
    angle = turns * 2 * torch.pi
    corners = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)
    return (center + corners).flatten(1)


def sets(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return 10 * torch.rand(count, 18, generator=generator, dtype=torch.float64)


def polygon(row):
    return shapely.Polygon(row.double().reshape(-1, 2).tolist())


def hull(row):
    return shapely.MultiPoint(row.double().reshape(-1, 2).tolist()).convex_hull


def iou(a, b):
    return a.intersection(b).area / a.union(b).area


def test_contract(check_operator, device):
    a, b = quads(5, 1).float(), quads(6, 2).float()
    check_operator("polygon_overlaps", (a, b, False, False), device=device)
    check_operator("polygon_overlaps", (a, b[:5], True, True), device=device)
    check_operator("polygon_overlaps", (a[:0], b, False, False), device=device)
    check_operator("nms_quadri", (quads(40, 3).float(), None, 0.2), device=device)
    check_operator("nms_quadri", (b, torch.arange(6) % 2, 0.1), device=device)
    check_operator("nms_quadri", (a[:0], None, 0.1), device=device)


def test_contract_of_point_sets(check_operator, device):
    points, polygons = sets(3, 4).float(), quads(3, 5).float()
    check_operator("convex_giou", (points, polygons), wrt=(0, 1), device=device)
    check_operator("min_area_polygons", (points,), device=device, dtypes=[torch.float64])
    check_operator(
        "points_in_polygons", (sets(2, 6).float().reshape(18, 2), polygons), device=device
    )


def test_quadrilaterals_overlap_as_in_shapely():
    a, b = quads(25, 7), quads(20, 8)
    expected = torch.tensor([[iou(polygon(p), polygon(q)) for q in b] for p in a])
    torch.testing.assert_close(box_iou_quadri(a, b), expected.double(), rtol=0, atol=1e-7)
    backwards = b.reshape(-1, 4, 2).flip(1).flatten(1)
    torch.testing.assert_close(box_iou_quadri(a, backwards), expected.double(), rtol=0, atol=1e-7)
    torch.testing.assert_close(box_iou_quadri(b, b).diagonal(), torch.ones(20).double())


@given(st.integers(0, 2**31), st.sampled_from([0.0, 1e-30, 1e-9, 1e-5]))
def test_near_equal_quadrilaterals_overlap_fully(seed, nudge):
    a = quads(1, seed)
    b = a + nudge * quads(1, seed + 1)
    assert box_iou_quadri(a, b).item() == pytest.approx(1, abs=1e-3 if nudge else 1e-9)


@pytest.mark.shared
def test_recorded_quadrilaterals(golden_mmcv):
    golden = golden_mmcv("ops_detection")
    for mode in ("iou", "iof"):
        inputs = [golden(f"box_iou_quadri.{mode}.in{k}") for k in (0, 1)]
        expected = golden(f"box_iou_quadri.{mode}.out")
        torch.testing.assert_close(box_iou_quadri(*inputs, mode), expected, rtol=0, atol=1e-5)
    kept, keep = nms_quadri(golden("nms_quadri.t0.3.in0"), golden("nms_quadri.t0.3.in1"), 0.3)
    assert torch.equal(keep, golden("nms_quadri.t0.3.out1"))
    torch.testing.assert_close(kept, golden("nms_quadri.t0.3.out0"))


@pytest.mark.shared
def test_recorded_point_sets(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    points, polygons = golden("convex.pointsets").double(), golden("convex.polygons").double()
    torch.testing.assert_close(
        convex_iou(points, polygons), golden("convex.iou"), rtol=0, atol=1e-7
    )
    giou, _ = convex_giou(points, polygons[:6])
    torch.testing.assert_close(giou, golden("convex.giou_paired"), rtol=0, atol=1e-7)
    ours = min_area_polygons(points).reshape(-1, 4, 2)
    sides = (ours[:, 1:3] - ours[:, :2]).norm(dim=2)
    torch.testing.assert_close(sides.prod(dim=1), golden("min_area.area"))
    for mine, theirs in zip(ours, golden("min_area.corners"), strict=True):
        torch.testing.assert_close(torch.cdist(mine, theirs).amin(1), torch.zeros(4).double())
    inside = points_in_polygons(
        golden("points_in_polygons.points"), golden("points_in_polygons.polygons")
    )
    assert torch.equal(inside.double(), golden("points_in_polygons.out"))


def test_hulls_overlap_as_in_shapely():
    points, polygons = sets(12, 9), quads(9, 10)
    expected = torch.tensor([[iou(hull(p), polygon(q)) for q in polygons] for p in points])
    torch.testing.assert_close(convex_iou(points, polygons), expected.double(), rtol=0, atol=1e-7)


def test_points_that_coincide_or_lie_in_a_row():
    corners = torch.tensor([[0.0, 0, 4, 0, 4, 2, 0, 2]])
    doubled = torch.cat((corners, corners, corners[:, :2]), dim=1)  # each corner twice
    assert convex_iou(doubled, corners).item() == pytest.approx(1)
    assert min_area_polygons(doubled).reshape(4, 2).amax(0).tolist() == [4, 2]
    nowhere = torch.full((1, 18), 3.0)
    assert convex_iou(nowhere, corners).item() == 0
    assert torch.equal(min_area_polygons(nowhere), torch.full((1, 8), 3.0))
    giou, slope = convex_giou(nowhere, corners)
    assert giou.isfinite().all()
    assert slope.isfinite().all()


def test_kernels_agree_with_their_meanings_on_a_grid_where_points_coincide():
    generator = torch.Generator().manual_seed(14)
    grid = [torch.randint(0, 4, (200, n), generator=generator).float() for n in (18, 8, 2)]
    points, polygons, single = grid
    rectangles = OPERATORS["min_area_polygons"]
    for name, args in (
        ("convex_giou", (points, polygons)),
        ("points_in_polygons", (single, polygons)),
    ):
        ours = getattr(torch.ops.okulo, name)(*args)
        torch.testing.assert_close(ours, OPERATORS[name](*args), rtol=0, atol=1e-6)
    least = [polygon_area(f(points).unflatten(1, (4, 2))) for f in (min_area_polygons, rectangles)]
    torch.testing.assert_close(*least, rtol=0, atol=1e-5)  # several may be the least


def test_the_second_result_of_convex_giou_is_its_gradient():
    points, polygons = sets(4, 11).requires_grad_(), quads(4, 12)
    giou, slope = convex_giou(points, polygons)
    (by_autograd,) = torch.autograd.grad(giou.sum(), points)
    assert torch.equal(slope, by_autograd)


def test_labels_are_honoured():
    same = quads(1, 13).expand(3, 8)
    scores = torch.tensor([0.5, 0.9, 0.7])
    assert nms_quadri(same, scores, 0.5)[1].tolist() == [1]
    assert nms_quadri(same, scores, 0.5, torch.tensor([0, 1, 0]))[1].tolist() == [1, 2]
    assert nms_quadri(same[:0], scores[:0], 0.5)[1] is None


def test_no_input_gives_no_output():
    assert convex_iou(sets(0, 0), quads(2, 0)).shape == (0, 2)
    assert convex_giou(sets(0, 0), quads(0, 0))[1].shape == (0, 18)
    assert min_area_polygons(sets(0, 0)).shape == (0, 8)
    assert points_in_polygons(torch.zeros(0, 2), quads(2, 0)).shape == (0, 2)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"bboxes2 must have shape \(N, 8\), got \(1, 5\)"):
        box_iou_quadri(quads(1, 0), torch.zeros(1, 5))
    with pytest.raises(ValueError, match="equally many, got 1 and 2"):
        convex_giou(sets(1, 0), quads(2, 0))


def test_the_gradient_is_the_same_where_autograd_is_off():
    points, polygons = sets(3, 4).float(), quads(3, 5).float()
    _, expected = convex_giou(points, polygons)
    assert expected.abs().sum() > 0
    with torch.inference_mode():
        assert torch.equal(convex_giou(points, polygons)[1], expected)
        assert torch.equal(convex_giou(points.clone(), polygons.clone())[1], expected)
    torch.compiler.reset()
    compiled = torch.compile(convex_giou, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(points, polygons)[1], expected)
