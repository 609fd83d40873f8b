"""Features of chosen points (PointNet++, https://arxiv.org/abs/1706.02413)."""

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define
from okulo_ops._point_neighbors import ball_query, knn

__all__ = [
    "gather_points",
    "grouping_operation",
    "three_interpolate",
    "QueryAndGroup",
    "GroupAll",
]


def gather_points(features: Tensor, indices: Tensor) -> Tensor:
    """Features of one point for each index.

    Args:
        features: (B, C, N) floating.
        indices: (B, M) integer, from 0 to N - 1.

    Returns:
        (B, C, M), dtype of ``features``, to which the gradient flows.
    """
    _check(features, indices, ("B", "M"))
    return _group(features, indices.long())  # type: ignore[no-any-return]


def grouping_operation(
    features: Tensor,
    indices: Tensor,
    features_batch_cnt: Tensor | None = None,
    indices_batch_cnt: Tensor | None = None,
) -> Tensor:
    """Features of a group of points for each centre.

    Args:
        features: (B, C, N) floating; or (N, C), the clouds of a batch one after the other.
        indices: (B, M, S) integer, from 0 to N - 1; or (M, S) into the centre's own cloud.
        features_batch_cnt, indices_batch_cnt: (B,) integer, points and centres of each cloud; given
            with the second form of the above only.

    Returns:
        (B, C, M, S), or (M, C, S), dtype of ``features``, to which the gradient flows.
    """
    if (features_batch_cnt is None) != (indices_batch_cnt is None):
        raise ValueError("features_batch_cnt and indices_batch_cnt come together, got one of them")
    if features_batch_cnt is not None and indices_batch_cnt is not None:
        return _group_stacked(features, indices, features_batch_cnt, indices_batch_cnt)
    _check(features, indices, ("B", "M", "S"))
    grouped: Tensor = _group(features, indices.flatten(1).long())
    return grouped.unflatten(2, indices.shape[1:])


def three_interpolate(features: Tensor, indices: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of the features of three points.

    Args:
        features: (B, C, M) floating.
        indices: (B, N, 3) integer, from 0 to M - 1, as :func:`three_nn` finds them.
        weight: (B, N, 3) floating.

    Returns:
        (B, C, N), dtype of ``features``. The gradient flows to ``features`` and ``weight``.
    """
    _check(features, indices, ("B", "N", 3))
    check_floating("weight", weight, tuple(indices.shape))
    return _interpolate(features, indices.long(), in_float32(weight))  # type: ignore[no-any-return]


class QueryAndGroup(nn.Module):
    """Coordinates relative to a centre, and features, of the points near it.

    Args:
        max_radius: Of the ball that is searched; None takes the nearest points instead.
        sample_num: Points for each centre, S.
        min_radius: Nearer points are left out.
        use_xyz: Whether relative coordinates come before the features in the result.
        return_grouped_xyz: Whether to return coordinates (B, 3, M, S) too.
        normalize_xyz: Whether to divide relative coordinates by ``max_radius``.
        uniform_sample: Whether the repeated points of a ball that is not full are drawn at random
            from those in it; otherwise the first one is repeated.
        return_unique_cnt: Whether to return the number of different points (B, M) too; needs
            ``uniform_sample``.
        return_grouped_idx: Whether to return indices (B, M, S) too.
    """

    def __init__(
        self,
        max_radius: float | None,
        sample_num: int,
        min_radius: float = 0.0,
        use_xyz: bool = True,
        return_grouped_xyz: bool = False,
        normalize_xyz: bool = False,
        uniform_sample: bool = False,
        return_unique_cnt: bool = False,
        return_grouped_idx: bool = False,
    ) -> None:
        super().__init__()
        if return_unique_cnt and not uniform_sample:
            raise ValueError("return_unique_cnt needs uniform_sample=True, got False")
        if normalize_xyz and max_radius is None:
            raise ValueError("normalize_xyz needs a max_radius, got None")
        self.max_radius = max_radius
        self.sample_num = sample_num
        self.min_radius = min_radius
        self.use_xyz = use_xyz
        self.return_grouped_xyz = return_grouped_xyz
        self.normalize_xyz = normalize_xyz
        self.uniform_sample = uniform_sample
        self.return_unique_cnt = return_unique_cnt
        self.return_grouped_idx = return_grouped_idx

    def forward(
        self, points_xyz: Tensor, center_xyz: Tensor, features: Tensor | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """Group points (B, N, 3) and features (B, C, N) around centres (B, M, 3).

        Returns:
            (B, 3 + C, M, S), or what of it was asked for, alone; or a tuple of it and the others.
        """
        if features is None and not self.use_xyz:
            raise ValueError("features must be given with use_xyz=False, got None")
        index = self._near(points_xyz, center_xyz)
        count = index.new_empty(0)
        if self.uniform_sample:
            index, count = _spread(index)
        xyz = grouping_operation(points_xyz.transpose(1, 2).contiguous(), index)
        relative = xyz - center_xyz.transpose(1, 2)[..., None]
        if self.normalize_xyz and self.max_radius is not None:
            relative = relative / self.max_radius
        parts = [relative] if self.use_xyz else []
        if features is not None:
            parts.append(grouping_operation(features, index))
        grouped = torch.cat(parts, dim=1)
        asked = self.return_grouped_xyz, self.return_unique_cnt, self.return_grouped_idx
        extra = [t for t, is_asked in zip((xyz, count, index), asked, strict=True) if is_asked]
        return (grouped, *extra) if extra else grouped

    def _near(self, points: Tensor, centers: Tensor) -> Tensor:
        if self.max_radius is None:
            return knn(self.sample_num, points, centers).transpose(1, 2).contiguous()
        return ball_query(self.min_radius, self.max_radius, self.sample_num, points, centers)


class GroupAll(nn.Module):
    """All points as one group; ``use_xyz``: whether coordinates come before the features."""

    def __init__(self, use_xyz: bool = True) -> None:
        super().__init__()
        self.use_xyz = use_xyz

    def forward(
        self, xyz: Tensor, new_xyz: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        """(B, 3 + C, 1, N) from (B, N, 3) and (B, C, N); there are no centres, ``new_xyz`` is not
        looked at."""
        coordinates = xyz.transpose(1, 2)[:, :, None]
        if features is None:
            return coordinates
        grouped = features[:, :, None]
        return torch.cat((coordinates, grouped), dim=1) if self.use_xyz else grouped


def _spread(index: Tensor) -> tuple[Tensor, Tensor]:
    """Fill what repeats in the rows of (B, M, S) with draws from the row; also how many do not."""
    sorted_index = index.sort(dim=-1).values
    new = torch.ones_like(sorted_index, dtype=torch.bool)
    new[..., 1:] = sorted_index[..., 1:] != sorted_index[..., :-1]
    count = new.sum(dim=-1)
    place = new.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    drawn = (torch.rand(index.shape, device=index.device) * count[..., None]).long()
    slots = torch.arange(index.shape[-1], device=index.device)
    slots = torch.where(slots < count[..., None], slots, drawn)
    return sorted_index.gather(-1, place.gather(-1, slots)), count


def _check(features: Tensor, indices: Tensor, shape: tuple[str | int, ...]) -> None:
    check_floating("features", features, ("B", "C", "N"))
    _check_index(indices, shape)
    if features.shape[0] != indices.shape[0]:
        raise ValueError(
            f"expected indices for each of the {features.shape[0]} clouds of features, "
            f"got {indices.shape[0]}"
        )
    check_same_device(features=features, indices=indices)


def _check_index(indices: Tensor, shape: tuple[str | int, ...]) -> None:
    if indices.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"indices must be int32 or int64, got {indices.dtype}")
    fits = indices.ndim == len(shape)
    if not fits or (isinstance(shape[-1], int) and indices.shape[-1] != shape[-1]):
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"indices must have shape ({wanted}), got {tuple(indices.shape)}")


def _check_counts(name: str, counts: Tensor, total: int) -> None:
    if counts.ndim != 1 or counts.is_floating_point():
        raise ValueError(
            f"{name} must be integer of shape (B,), got {counts.dtype} of {tuple(counts.shape)}"
        )
    if _may_look(counts) and (int(counts.sum()) != total or bool((counts < 0).any())):
        raise ValueError(f"{name} must add up to {total}, got {counts.tolist()}")


def _may_look(tensor: Tensor) -> bool:
    """Whether values can be had at no cost."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def _group_stacked(
    features: Tensor, indices: Tensor, features_count: Tensor, indices_count: Tensor
) -> Tensor:
    check_floating("features", features, ("N", "C"))
    _check_index(indices, ("M", "S"))
    check_same_device(features=features, indices=indices)
    _check_counts("features_batch_cnt", features_count, len(features))
    _check_counts("indices_batch_cnt", indices_count, len(indices))
    if len(features_count) != len(indices_count):
        raise ValueError(
            f"expected a count of points and of centres for each cloud, got {len(features_count)} "
            f"and {len(indices_count)}"
        )
    first, size = (
        of_cloud.repeat_interleave(indices_count, output_size=len(indices))[:, None]
        for of_cloud in (features_count.cumsum(0) - features_count, features_count)
    )
    if _may_look(indices) and not ((indices >= 0) & (indices < size)).all():
        raise ValueError("indices must be from 0 to below the points of the centre's own cloud")
    rows = features.index_select(0, (indices + first).flatten())
    return rows.unflatten(0, indices.shape).transpose(1, 2).contiguous()


def _group_meaning(features: Tensor, index: Tensor) -> Tensor:
    return features.gather(2, index[:, None].expand(-1, features.shape[1], -1))


_group = define(
    "group_points(Tensor features, Tensor index) -> Tensor",
    _group_meaning,
    lambda features, index: features.new_empty((*features.shape[:2], index.shape[1])),
    gradient=["features"],
)


def _interpolate_meaning(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    near = in_float32(_group_meaning(features, index.flatten(1))).unflatten(2, (-1, 3))
    return (near * in_float32(weight)[:, None]).sum(-1).to(features.dtype)


_interpolate = define(
    "three_interpolate(Tensor features, Tensor index, Tensor weight) -> Tensor",
    _interpolate_meaning,
    lambda features, index, weight: features.new_empty((*features.shape[:2], index.shape[1])),
    gradient=["features", "weight"],
)
