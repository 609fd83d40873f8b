"""Points of a cloud far from each other (https://arxiv.org/abs/1706.02413, section 3.2)."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating, in_float32
from okulo_ops._operator import define

__all__ = ["furthest_point_sample", "furthest_point_sample_with_dist", "PointsSampler"]

Mode = Literal["D-FPS", "F-FPS", "FS"]


def furthest_point_sample(points_xyz: Tensor, num_points: int) -> Tensor:
    """Choose points one after the other, each the furthest from those already chosen.

    Args:
        points_xyz: (B, N, D) floating, N >= 1; D is 3 for coordinates, any for features.
        num_points: How many to choose.

    Returns:
        (B, num_points) int64. The first is index 0; of equally far points the lower index is
        taken, so once all distinct points are chosen the rest is index 0.
    """
    check_floating("points_xyz", points_xyz, ("B", "N", "D"))
    _check_count(num_points, points_xyz.shape[1])
    return _sample(points_xyz.detach(), num_points)  # type: ignore[no-any-return]


def furthest_point_sample_with_dist(points_dist: Tensor, num_points: int) -> Tensor:
    """:func:`furthest_point_sample` by given distances, (B, N, N), from row to column."""
    check_floating("points_dist", points_dist, ("B", "N", "N"))
    if points_dist.shape[1] != points_dist.shape[2]:
        raise ValueError(f"points_dist must have shape (B, N, N), got {tuple(points_dist.shape)}")
    _check_count(num_points, points_dist.shape[1])
    return _sample_with_dist(points_dist.detach(), num_points)  # type: ignore[no-any-return]


class PointsSampler(nn.Module):
    """Samples each range of a cloud's points by a method of its own.

    "D-FPS" takes the furthest points by coordinates, "F-FPS" by coordinates and features together,
    "FS" both, those of F-FPS first (3DSSD, https://arxiv.org/abs/2002.10187, section 3.2).

    Args:
        num_point: Points to take from each range.
        fps_mod_list: Method of each range.
        fps_sample_range_list: Where each range ends; it begins where the one before ended. -1 is
            the end of the cloud.
    """

    def __init__(
        self,
        num_point: Sequence[int],
        fps_mod_list: Sequence[Mode] = ("D-FPS",),
        fps_sample_range_list: Sequence[int] = (-1,),
    ) -> None:
        super().__init__()
        lengths = len(num_point), len(fps_mod_list), len(fps_sample_range_list)
        if len(set(lengths)) != 1:
            raise ValueError(
                "num_point, fps_mod_list and fps_sample_range_list must be of one length, "
                f"got {lengths}"
            )
        unknown = set(fps_mod_list) - {"D-FPS", "F-FPS", "FS"}
        if unknown:
            raise ValueError(f'fps_mod_list takes "D-FPS", "F-FPS" and "FS", got {unknown}')
        self.num_point = list(num_point)
        self.fps_mod_list = list(fps_mod_list)
        self.fps_sample_range_list = list(fps_sample_range_list)

    def forward(self, points_xyz: Tensor, features: Tensor | None = None) -> Tensor:
        """Indices (B, P) int64 from coordinates (B, N, 3) and features (B, C, N); "D-FPS" needs no
        features. P is the sum of num_point, where one of "FS" counts twice."""
        parts, begin = [], 0
        for count, mode, end in zip(
            self.num_point, self.fps_mod_list, self.fps_sample_range_list, strict=True
        ):
            stop = points_xyz.shape[1] if end == -1 else end
            part = None if features is None else features[:, :, begin:stop]
            parts.append(_by_mode(mode, points_xyz[:, begin:stop], part, count) + begin)
            begin = stop
        return torch.cat(parts, dim=1)


def _by_mode(mode: str, xyz: Tensor, features: Tensor | None, count: int) -> Tensor:
    if mode == "D-FPS":
        return furthest_point_sample(xyz, count)
    if features is None:
        raise ValueError(f'features must be given for "{mode}", got None')
    both = torch.cat((xyz, features.transpose(1, 2)), dim=2)
    by_features = furthest_point_sample(both, count)
    if mode == "F-FPS":
        return by_features
    return torch.cat((by_features, furthest_point_sample(xyz, count)), dim=1)


def _check_count(count: int, points: int) -> None:
    if count < 1 or points < 1:
        raise ValueError(
            f"expected at least one point to choose from and to choose, got {points} and {count}"
        )


def _sample_meaning(points: Tensor, count: int) -> Tensor:
    columns = in_float32(points).unbind(-1)

    def distances(last: Tensor) -> Tensor:
        steps = [column - column.gather(1, last) for column in columns]
        total = steps[0] * steps[0]
        for step in steps[1:]:
            total = total + step * step
        return total

    return _choose(distances, columns[0], count)


def _sample_with_dist_meaning(dist: Tensor, count: int) -> Tensor:
    rows = torch.arange(len(dist), device=dist.device)
    return _choose(lambda last: dist[rows, last[:, 0]], dist[:, 0], count)


def _choose(distances: Callable[[Tensor], Tensor], like: Tensor, count: int) -> Tensor:
    """distances(index (B, 1)) are those of all N points, (B, N), to the ones last chosen."""
    least = torch.full_like(like, torch.inf)
    last = torch.zeros(len(like), 1, dtype=torch.int64, device=like.device)
    chosen = [last]
    for _ in range(count - 1):
        new = distances(last)
        least = torch.where(new < least, new, least)
        last = least.argmax(dim=1, keepdim=True)
        chosen.append(last)
    return torch.cat(chosen, dim=1)


def _fake(points: Tensor, count: int) -> Tensor:
    return points.new_empty((points.shape[0], count), dtype=torch.int64)


_sample = define(
    "furthest_point_sample(Tensor points, int count) -> Tensor", _sample_meaning, _fake
)
_sample_with_dist = define(
    "furthest_point_sample_with_dist(Tensor dist, int count) -> Tensor",
    _sample_with_dist_meaning,
    _fake,
)
