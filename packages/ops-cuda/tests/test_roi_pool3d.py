"""RoIAwarePool3d and RoIPointPool3d (section 19 of the inventory)."""

import math

import pytest
import torch

from okulo_ops import RoIAwarePool3d, RoIPointPool3d


def sample(clouds=2, points=60, boxes=3):
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(clouds, points, 3, generator=generator, dtype=torch.float64)
    features = torch.randn(clouds, points, 4, generator=generator, dtype=torch.float64)
    sizes = torch.rand(clouds, boxes, 3, generator=generator).double() * 3 + 1
    rest = torch.randn(clouds, boxes, 4, generator=generator).double()
    boxes = torch.cat((rest[..., :3] - 1, sizes, rest[..., 3:]), dim=2)
    boxes[:, -1, 0] += 100  # without points
    return cloud, features, boxes


def place(point, box):
    """Place of a point in its box, each coordinate from 0 to 1, or None outside."""
    x, y, z, dx, dy, dz, heading = box
    turned = complex(point[0] - x, point[1] - y) * complex(math.cos(heading), -math.sin(heading))
    share = turned.real / dx + 0.5, turned.imag / dy + 0.5, (point[2] - z) / dz
    return share if all(0 < s < 1 for s in share) else None


@pytest.mark.parametrize("mode", ["max", "avg"])
@pytest.mark.parametrize("limit", [128, 1])
def test_cells_pool_their_first_points(mode, limit, device):
    (cloud, _), (features, _), (boxes, _) = sample()
    layer = RoIAwarePool3d((2, 3, 1), limit, mode)
    ours = layer(boxes.to(device), cloud.to(device), features.to(device)).cpu()
    assert ours.shape == (3, 2, 3, 1, 4)
    for box, pooled in zip(boxes.tolist(), ours, strict=True):
        cells = {}
        for point, feature in zip(cloud.tolist(), features, strict=True):
            if share := place(point, box):
                cell = tuple(int(s * n) for s, n in zip(share, (2, 3, 1), strict=True))
                cells.setdefault(cell, []).append(feature)
        expected = torch.zeros(2, 3, 1, 4, dtype=torch.float64)
        for cell, members in cells.items():
            counted = torch.stack(members[:limit])
            expected[cell] = counted.amax(0) if mode == "max" else counted.mean(0)
        torch.testing.assert_close(pooled, expected)


def test_boxes_sample_their_first_points_over_and_over(device):
    cloud, features, boxes = sample()
    layer = RoIPointPool3d(7)
    ours, empty = (t.cpu() for t in layer(cloud.to(device), features.to(device), boxes.to(device)))
    for b in range(2):
        for m, box in enumerate(boxes[b].tolist()):
            found = [i for i, point in enumerate(cloud[b].tolist()) if place(point, box)]
            assert empty[b, m].item() == (0 if found else 1)
            for k in range(7):
                expected = torch.zeros(7).double()
                if found:
                    i = found[k % len(found)]
                    expected = torch.cat((cloud[b, i], features[b, i]))
                assert torch.equal(ours[b, m, k], expected)


@pytest.mark.parametrize("mode", ["max", "avg"])
def test_gradients_are_derivatives(mode):
    cloud, features, boxes = sample(points=20)
    layer = RoIAwarePool3d(2, 128, mode)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: layer(boxes[0], cloud[0], f[0]), features)
    sampled = RoIPointPool3d(4)
    assert torch.autograd.gradcheck(lambda f: sampled(cloud, f, boxes)[0], features)


def test_nothing_to_pool():
    assert RoIAwarePool3d(2)(torch.zeros(0, 7), torch.zeros(3, 3), torch.zeros(3, 4)).shape[0] == 0
    none = RoIAwarePool3d(2)(torch.ones(1, 7), torch.zeros(0, 3), torch.zeros(0, 4))
    assert none.shape == (1, 2, 2, 2, 4)
    cloud, features, boxes = torch.zeros(1, 0, 3), torch.zeros(1, 0, 4), torch.ones(1, 2, 7)
    pooled, empty = RoIPointPool3d(5)(cloud, features, boxes)
    assert pooled.shape == (1, 2, 5, 7)
    assert empty.tolist() == [[1, 1]]


def test_refused_input_says_what_was_expected():
    with pytest.raises(ValueError, match=r"pts_feature must have shape \(3, C\), got \(4, 2\)"):
        RoIAwarePool3d(2)(torch.zeros(1, 7), torch.zeros(3, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="got 'sum'"):
        RoIAwarePool3d(2, mode="sum")
