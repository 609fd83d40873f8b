"""Keypoint names, flips and skeleton, as an annotation file's categories state them."""

from typing import Any

from okulo_core.errors import DataError

__all__ = ["keypoint_info"]

_LEFT, _RIGHT, _MIDDLE = (0, 128, 255), (255, 128, 0), (64, 192, 64)  # RGB of drawn lines


def keypoint_info(path: str, categories: list[dict[str, Any]]) -> dict[str, Any]:
    """The keypoint fields of ``DatasetInfo``; empty if no category has keypoints.

    Two keypoints change places in a mirrored image if their names differ only in ``left`` and
    ``right``, as in COCO.
    """
    kinds = [category for category in categories if category.get("keypoints")]
    if not kinds:
        return {}
    names = kinds[0]["keypoints"]
    for category in kinds:
        if category["keypoints"] != names:
            raise DataError(
                f"{path}: the categories {kinds[0]['name']!r} and {category['name']!r} have "
                "different keypoints; a data set has one list of them"
            )
    mirrored = {name: name.replace("left", "right") for name in names if "left" in name}
    return {
        "keypoint_names": names,
        "keypoint_flip_map": [pair for pair in mirrored.items() if pair[1] in names],
        "keypoint_connection_rules": [
            (names[a - 1], names[b - 1], _color(names[a - 1] + names[b - 1]))
            for a, b in kinds[0].get("skeleton", ())
        ],
    }


def _color(names: str) -> tuple[int, int, int]:
    if ("left" in names) == ("right" in names):
        return _MIDDLE
    return _LEFT if "left" in names else _RIGHT
