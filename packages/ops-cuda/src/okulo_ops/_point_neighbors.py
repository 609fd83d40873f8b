"""Which points of a cloud lie near a centre (PointNet++, https://arxiv.org/abs/1706.02413)."""

import torch
from torch import Tensor

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["three_nn", "knn", "ball_query", "nearest", "squared_distances"]


def three_nn(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """The three points of ``source`` nearest to each point of ``target``.

    Args:
        target: (B, N, 3) floating.
        source: (B, M, 3) floating, M >= 3.

    Returns:
        Distances (B, N, 3), Euclidean, ascending, in the dtype of ``target``, and indices
        (B, N, 3) int64 into ``source``; of equal distances the lower index comes first. No
        gradient flows through either.
    """
    check_floating("target", target, ("B", "N", 3))
    check_floating("source", source, ("B", "M", 3))
    index, squared = nearest(source, target, 3)
    return squared.sqrt().to(target.dtype), index


def knn(k: int, xyz: Tensor, center_xyz: Tensor | None = None, transposed: bool = False) -> Tensor:
    """Indices of the k points nearest to each centre.

    Args:
        k: From 1 to N.
        xyz: (B, N, 3) floating, or (B, 3, N) if ``transposed``.
        center_xyz: (B, M, 3), or (B, 3, M) if ``transposed``; None takes the points themselves.
        transposed: Whether coordinates come before points.

    Returns:
        (B, k, M) int64, nearest first; of equal distances the lower index comes first.
    """
    centers = xyz if center_xyz is None else center_xyz
    shape = ("B", 3, "N") if transposed else ("B", "N", 3)
    check_floating("xyz", xyz, shape)
    check_floating("center_xyz", centers, shape)
    if transposed:
        xyz, centers = xyz.transpose(1, 2), centers.transpose(1, 2)
    return nearest(xyz, centers, k)[0].transpose(1, 2).contiguous()


def ball_query(
    min_radius: float,
    max_radius: float,
    sample_num: int,
    xyz: Tensor,
    center_xyz: Tensor,
    xyz_batch_cnt: Tensor | None = None,
    center_xyz_batch_cnt: Tensor | None = None,
) -> Tensor:
    """The first points, in their order, whose distance to a centre is in [min, max) or is 0.

    Args:
        min_radius, max_radius: In units of the coordinates.
        sample_num: Indices for each centre, S.
        xyz: (B, N, 3) floating; or (N, 3), the clouds of a batch one after the other.
        center_xyz: (B, M, 3), or (M, 3).
        xyz_batch_cnt, center_xyz_batch_cnt: (B,) integer, points and centres of each cloud; given
            with the second form of the above only.

    Returns:
        (B, M, S), or (M, S), int64 indices into the centre's own cloud. Where fewer than S points
        are found the first of them fills the rest; where none is found all are 0.
    """
    if (xyz_batch_cnt is None) != (center_xyz_batch_cnt is None):
        raise ValueError("xyz_batch_cnt and center_xyz_batch_cnt come together, got one of them")
    stacked = xyz_batch_cnt is not None
    shape: tuple[str | int, ...] = ("N", 3) if stacked else ("B", "N", 3)
    check_floating("xyz", xyz, shape)
    check_floating("center_xyz", center_xyz, shape)
    check_same_device(xyz=xyz, center_xyz=center_xyz)
    if sample_num < 1:
        raise ValueError(f"sample_num must be at least 1, got {sample_num}")
    points, centers = _same_dtype(xyz, center_xyz)
    if xyz_batch_cnt is not None and center_xyz_batch_cnt is not None:
        ends = xyz_batch_cnt.cumsum(0), center_xyz_batch_cnt.cumsum(0)
        return _ball_query(points, centers, *ends, min_radius, max_radius, sample_num)
    _check_same_batch(xyz, center_xyz)
    ends = _ends(xyz), _ends(center_xyz)
    found = _ball_query(
        points.flatten(0, 1), centers.flatten(0, 1), *ends, min_radius, max_radius, sample_num
    )
    return found.unflatten(0, center_xyz.shape[:2])


def nearest(points: Tensor, centers: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Indices (B, M, k) int64 and squared distances of the k points (B, N, D) nearest to each
    centre (B, M, D), ascending; float16 and bfloat16 give float32 distances."""
    check_same_device(points=points, centers=centers)
    _check_same_batch(points, centers)
    if not 1 <= k <= points.shape[1]:
        raise ValueError(f"expected k from 1 to the {points.shape[1]} points of a cloud, got {k}")
    index, squared = _nearest(*_same_dtype(points, centers), k)
    return index, squared


def squared_distances(points: Tensor, centers: Tensor) -> Tensor:
    """(..., M, N) from (..., N, D) and (..., M, D), added in the order of the coordinates."""
    total = points.new_zeros(())
    for d in range(points.shape[-1]):
        step = centers[..., :, None, d] - points[..., None, :, d]
        total = total + step * step
    return total


def _same_dtype(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(first.dtype, second.dtype)
    return first.detach().to(dtype), second.detach().to(dtype)


def _check_same_batch(points: Tensor, centers: Tensor) -> None:
    if points.shape[0] != centers.shape[0]:
        raise ValueError(
            f"expected as many clouds of points as of centres, got {points.shape[0]} and "
            f"{centers.shape[0]}"
        )


def _ends(clouds: Tensor) -> Tensor:
    """Where each cloud of (B, N, 3) ends once they lie one after the other."""
    batch, n = clouds.shape[:2]
    return torch.arange(1, batch + 1, device=clouds.device) * n


def _nearest_meaning(points: Tensor, centers: Tensor, k: int) -> tuple[Tensor, Tensor]:
    squared = squared_distances(in_float32(points), in_float32(centers))
    values, index = squared.sort(dim=-1, stable=True)
    return index[..., :k], values[..., :k]


def _nearest_fake(points: Tensor, centers: Tensor, k: int) -> tuple[Tensor, Tensor]:
    shape = (*centers.shape[:2], k)
    exact = torch.promote_types(points.dtype, torch.float32)
    return points.new_empty(shape, dtype=torch.int64), points.new_empty(shape, dtype=exact)


_nearest = define(
    "nearest_points(Tensor points, Tensor centers, int k) -> (Tensor, Tensor)",
    _nearest_meaning,
    _nearest_fake,
)


def _ball_query_meaning(
    points: Tensor,
    centers: Tensor,
    point_ends: Tensor,
    center_ends: Tensor,
    min_radius: float,
    max_radius: float,
    samples: int,
) -> Tensor:
    points, centers = in_float32(points), in_float32(centers)
    sizes = [torch.diff(ends, prepend=ends.new_zeros(1)) for ends in (point_ends, center_ends)]
    squared_radii = min_radius * min_radius, max_radius * max_radius
    clouds = zip(points.split(sizes[0].tolist()), centers.split(sizes[1].tolist()), strict=True)
    found = [_in_ball(p, c, *squared_radii, samples) for p, c in clouds]
    return torch.cat([*found, point_ends.new_empty(0, samples)])


def _in_ball(points: Tensor, centers: Tensor, low: float, high: float, samples: int) -> Tensor:
    n = len(points)
    squared = squared_distances(points, centers)
    inside = (squared == 0) | ((squared >= low) & (squared < high))
    order = torch.arange(n, device=points.device).expand(len(centers), n)
    first = torch.where(inside, order, n).topk(min(samples, n), largest=False, sorted=True).values
    first = torch.cat((first, first.new_full((len(centers), samples - first.shape[1]), n)), dim=1)
    first = torch.where(first == n, first[:, :1], first)
    return torch.where(first == n, 0, first)


_ball_query = define(
    "ball_query(Tensor points, Tensor centers, Tensor point_ends, Tensor center_ends,"
    " float min_radius, float max_radius, int samples) -> Tensor",
    _ball_query_meaning,
    lambda points, centers, *others: points.new_empty(
        (centers.shape[0], others[-1]), dtype=torch.int64
    ),
)
