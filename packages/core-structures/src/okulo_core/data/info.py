"""What a whole data set shares: class names, colours, keypoints."""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Attribute, asdict, field, fields, frozen

__all__ = ["DatasetInfo"]


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _rows(values: Any) -> tuple[Any, ...]:
    """Lists of lists, as JSON gives them, become tuples of tuples."""
    return tuple(_rows(value) if isinstance(value, list | tuple) else value for value in values)


def _one_per_class(of: str) -> Any:
    def check(info: "DatasetInfo", attribute: "Attribute[Any]", value: tuple[Any, ...]) -> None:
        expected = len(getattr(info, of))
        if value and len(value) != expected:
            raise ValueError(
                f"DatasetInfo.{attribute.name} must be empty or have one entry for each of the "
                f"{expected} {of}, got {len(value)}"
            )

    return check


def _known_keypoints(
    info: "DatasetInfo", attribute: "Attribute[Any]", value: tuple[Any, ...]
) -> None:
    unknown = {name for row in value for name in row[:2]} - set(info.keypoint_names)
    if unknown:
        raise ValueError(
            f"DatasetInfo.{attribute.name} names keypoints {sorted(unknown)} that are not in "
            f"keypoint_names {list(info.keypoint_names)}"
        )


@frozen(kw_only=True)
class DatasetInfo:
    """What all images of a data set share; what is unknown stays empty.

    Attributes:
        name: Names the data set in messages and results.
        thing_classes: Class of label k, for things (countable objects).
        thing_colors: RGB in 0..255, one per thing class.
        thing_dataset_ids: Id in the source file of label k.
        stuff_classes: Class of semantic label k.
        stuff_colors: RGB in 0..255, one per stuff class.
        stuff_dataset_ids: Id in the source file of semantic label k.
        keypoint_names: Name of keypoint k.
        keypoint_flip_map: Pairs of names that change places when the image is mirrored.
        keypoint_connection_rules: (name, name, RGB) of each line to draw.
        ignore_label: Semantic label that training and evaluation leave out.
    """

    name: str
    thing_classes: tuple[str, ...] = field(default=(), converter=_names)
    thing_colors: tuple[tuple[int, int, int], ...] = field(
        default=(), converter=_rows, validator=_one_per_class("thing_classes")
    )
    thing_dataset_ids: tuple[int, ...] = field(
        default=(), converter=_rows, validator=_one_per_class("thing_classes")
    )
    stuff_classes: tuple[str, ...] = field(default=(), converter=_names)
    stuff_colors: tuple[tuple[int, int, int], ...] = field(
        default=(), converter=_rows, validator=_one_per_class("stuff_classes")
    )
    stuff_dataset_ids: tuple[int, ...] = field(
        default=(), converter=_rows, validator=_one_per_class("stuff_classes")
    )
    keypoint_names: tuple[str, ...] = field(default=(), converter=_names)
    keypoint_flip_map: tuple[tuple[str, str], ...] = field(
        default=(), converter=_rows, validator=_known_keypoints
    )
    keypoint_connection_rules: tuple[tuple[str, str, tuple[int, int, int]], ...] = field(
        default=(), converter=_rows, validator=_known_keypoints
    )
    ignore_label: int = 255

    @property
    def keypoint_flip_indices(self) -> tuple[int, ...]:
        """For each keypoint, the one that takes its place in the mirrored image."""
        partner = dict(self.keypoint_flip_map)
        partner |= {right: left for left, right in self.keypoint_flip_map}
        return tuple(
            self.keypoint_names.index(partner.get(name, name)) for name in self.keypoint_names
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; :meth:`from_dict` gives the same object back."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "DatasetInfo":
        """Read what :meth:`to_dict` wrote; an unknown key raises ``ValueError``."""
        known = [attribute.name for attribute in fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ValueError(f"DatasetInfo has no field {unknown}; it has {known}")
        return cls(**data)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
