"""Drawing into a folder once, and reading it."""

import json

import cv2
import numpy as np
import pytest
from attrs import evolve

from okulo_core.catalog import Catalog
from okulo_core.structures import BoxMode
from okulo_core.testing import check_component
from okulo_shapes import dataset as module
from okulo_shapes.dataset import ShapesConfig


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def config(tmp_path):
    return ShapesConfig(root=str(tmp_path / "shapes"), num_images=4, image_size=(64, 80))


def test_one_seed_gives_the_same_bytes_everywhere(config, tmp_path):
    config.build()
    elsewhere = evolve(config, root=str(tmp_path / "other"))
    elsewhere.build()
    assert files(config.folder()) == files(elsewhere.folder())


@pytest.mark.parametrize("change", [{"seed": 1}, {"split": "val"}])
def test_another_seed_or_split_gives_other_pictures_in_another_folder(config, change):
    config.build()
    other = evolve(config, **change)
    other.build()
    assert other.folder() != config.folder()
    ours, theirs = files(config.folder()), files(other.folder())
    for name in (f"images/{k:06d}.png" for k in range(4)):
        assert ours[name] != theirs[name]


def test_a_smaller_data_set_is_the_beginning_of_a_larger_one(config):
    config.build()
    smaller = evolve(config, num_images=2)
    smaller.build()
    for name in ("images/000001.png", "semantic/000001.png", "panoptic/000001.png"):
        assert files(config.folder())[name] == files(smaller.folder())[name]


def test_pictures_are_drawn_once(config, monkeypatch):
    first = config.build()
    monkeypatch.setattr(module, "draw_scene", None)  # drawing again would fail
    again = config.build()
    assert list(first.records) == list(again.records)


def test_an_interrupted_drawing_leaves_nothing_that_looks_complete(config, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "dump", stop)
    with pytest.raises(KeyboardInterrupt):
        config.build()
    assert list(config.folder().parent.iterdir()) == []
    monkeypatch.undo()
    assert len(config.build()) == 4


def test_the_slower_of_two_processes_keeps_what_is_there(config, monkeypatch):
    original = module._draw_files

    def overtaken(settings, folder):
        original(settings, folder)
        if not settings.folder().exists():
            monkeypatch.setattr(module, "_draw_files", original)
            module._draw_folder(settings, settings.folder())

    monkeypatch.setattr(module, "_draw_files", overtaken)
    assert len(config.build()) == 4
    assert [path.name for path in config.folder().parent.iterdir()] == [config.folder().name]


def test_records_point_at_files_that_fit(config):
    data = config.build()
    assert len(data) == 4
    for index in range(4):
        record = data[index]
        assert record.image_id == index
        image = cv2.imread(record.file_name)
        assert image.shape == (record.height, record.width, 3) == (64, 80, 3)
        labels = cv2.imread(record.sem_seg_file_name, cv2.IMREAD_UNCHANGED)
        assert labels.shape == (64, 80)
        colors = cv2.imread(record.pan_seg_file_name).astype(int)
        ids = colors[..., 2] + 256 * colors[..., 1] + 65536 * colors[..., 0]
        assert np.unique(ids).tolist() == sorted(s["id"] for s in record.segments_info)
    assert len({a.id for r in data.records for a in r.annotations}) == sum(
        len(r.annotations) for r in data.records
    )


def test_boxes_are_upright_or_rotated_over_the_same_files(config):
    rotated = evolve(config, boxes="rotated")
    assert rotated.folder() == config.folder()
    for upright, turned in zip(config.build().records, rotated.build().records, strict=True):
        for one, other in zip(upright.annotations, turned.annotations, strict=True):
            assert one.bbox_mode == BoxMode.XYXY_ABS
            assert other.bbox_mode == BoxMode.XYWHA_ABS
            assert len(other.bbox) == 5
            assert evolve(other, bbox=one.bbox, bbox_mode=one.bbox_mode) == one


def test_the_settings_lie_beside_the_pictures(config):
    config.build()
    settings = json.loads((config.folder() / "settings.json").read_text())
    assert settings["seed"] == 0
    assert settings["image_size"] == [64, 80]
    assert "root" not in settings


def test_no_images_are_an_ordinary_number_of_images(config):
    assert len(evolve(config, num_images=0).build()) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"num_images": -1}, {"image_size": (16, 64)}, {"max_objects": 0}, {"split": "test"}],
    ids=str,
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ShapesConfig(**wrong)


def test_the_component_keeps_its_contract(config):
    check_component(config, kind="dataset", catalog=Catalog.installed())
