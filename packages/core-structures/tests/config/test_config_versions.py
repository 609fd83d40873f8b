"""Old files are upgraded while reading.

Rows D2-103, D2-122, D2-130, D2-131 in spirit: a file of an older version is brought to the newest.
"""

import attrs
import pytest

from okulo_core.config import structure, unstructure
from okulo_core.errors import ConfigError


@pytest.fixture
def read(catalog, toys):
    return lambda model: structure({"model": model}, toys.RunConfig, catalog).model


def test_each_older_version_is_upgraded(read):
    net = {"type": "resnet", "depth": 18}
    newest = read({"type": "detector", "version": 3, "num_classes": 4, "backbone": net})
    assert read({"type": "detector", "version": 2, "num_classes": 4, "net": net}) == newest
    assert read({"type": "detector", "version": 1, "classes": 4, "net": net}) == newest


def test_without_a_version_it_is_the_first(read):
    assert read({"type": "detector", "classes": 4}).num_classes == 4


def test_old_keys_are_unknown_in_a_new_version(read):
    with pytest.raises(ConfigError, match=r"model\.classes: unknown key; did you mean"):
        read({"type": "detector", "version": 3, "classes": 4, "num_classes": 4})


def test_a_newer_version_is_refused(read):
    with pytest.raises(ConfigError, match=r"model\.version: 4 is newer than 3, the newest that"):
        read({"type": "detector", "version": 4, "num_classes": 4})


@pytest.mark.parametrize("version", ["3", 0, True, 2.0])
def test_a_version_is_a_positive_int(read, version):
    with pytest.raises(ConfigError, match=r"model\.version: expected a positive int, got"):
        read({"type": "detector", "version": version, "num_classes": 4})


def test_the_version_is_written_only_after_the_first(read, catalog):
    data = unstructure(read({"type": "detector", "version": 3, "num_classes": 4}), catalog)
    assert data["version"] == 3
    assert "version" not in data["backbone"]


def test_a_failing_upgrade_is_reported_with_its_path(catalog):
    def upgrade(data, version):
        raise KeyError("gone")

    holder = attrs.make_class("Holder", ["a"], frozen=True)
    holder.VERSION, holder.upgrade = 2, staticmethod(upgrade)
    with pytest.raises(ConfigError, match=r"cannot be upgraded from version 1: KeyError\('gone'\)"):
        structure({}, holder, catalog)


def test_a_setting_named_version_is_a_setting(catalog):
    holder = attrs.make_class("Holder", {"version": attrs.field(default="a", type=str)})
    assert structure({"version": "b"}, holder, catalog).version == "b"
