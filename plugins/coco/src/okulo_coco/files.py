"""The parts of an annotation file that all of COCO's tasks share."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from okulo_core.errors import DataError
from okulo_core.io import load, local_path

__all__ = ["category_colors", "read_file", "require", "sorted_by_id", "warn_of_gaps"]

_log = logging.getLogger(__name__)

# COCO leaves these out of 1..90; its own gaps are no news.
_COCO_IDS = sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})


def read_file(path: str) -> dict[str, Any]:
    """Read an annotation file and check that it holds images and categories.

    A file without ``annotations``, such as those of COCO's test images, is ordinary.
    """
    data = load(local_path(path), format="json")
    if not isinstance(data, dict):
        raise DataError(f"{path}: expected a JSON object, got a {type(data).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key, []), list):
            raise DataError(f"{path}: {key!r} is not a list, but {data[key]!r:.80}")
    for key in ("images", "categories"):
        if not data.get(key):
            raise DataError(
                f"{path}: the annotation file has no {key!r}; a COCO file has a list of them "
                f"(its keys are {sorted(data)})"
            )
    data.setdefault("annotations", [])
    return data


def require(item: dict[str, Any], keys: Sequence[str], place: str) -> None:
    """Raise ``DataError`` unless ``item`` has all of ``keys``."""
    missing = [key for key in keys if key not in item]
    if missing:
        raise DataError(f"{place} lacks {missing}; it has {sorted(item)}")


def sorted_by_id(items: Iterable[dict[str, Any]], keys: Sequence[str], place: str) -> list[Any]:
    """Check that all ``items`` have the ``keys`` and different ids; return them in order of id."""
    seen: set[Any] = set()
    for position, item in enumerate(items):
        require(item, ("id", *keys), f"{place} number {position}")
        if item["id"] in seen:
            raise DataError(f"{place}: the id {item['id']} occurs more than once")
        seen.add(item["id"])
    types = sorted({type(id).__name__ for id in seen})
    if len(types) > 1:
        raise DataError(f"{place}: the ids are of mixed types, {' and '.join(types)}")
    return sorted(items, key=lambda item: item["id"])


def category_colors(categories: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    """RGB per category, or nothing unless every category states its own."""
    colors = tuple(category.get("color") for category in categories)
    return colors if all(colors) else ()


def warn_of_gaps(path: str, category_ids: Sequence[int]) -> None:
    """Say that labels differ from ids, which surprises those who compare with the file."""
    count = len(category_ids)
    if list(category_ids) not in (list(range(1, count + 1)), _COCO_IDS):
        _log.warning(
            "%s: the category ids %s are not 1..%d; labels are 0..%d in the order of the ids",
            path,
            list(category_ids[:10]) + (["..."] if count > 10 else []),
            count,
            count - 1,
        )
