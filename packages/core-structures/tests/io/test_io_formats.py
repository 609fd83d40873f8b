"""Rows MM-009, MM-010, MM-013 in spirit: JSON, YAML, and pickles that cannot run code."""

import collections
import json
import os
import pickle

import numpy as np
import pytest

from okulo_core.errors import DataError
from okulo_core.io import dump, load

PLAIN = {"a": [1, 2.5, "größe", None, True], "b": {"c": []}}


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.yml", "a.pkl", "a.pickle", "A.JSON"])
def test_plain_data_survives(tmp_path, name):
    assert dump(PLAIN, tmp_path / name) is None
    assert load(tmp_path / name) == PLAIN
    assert os.listdir(tmp_path) == [name]


def test_a_remote_file_is_as_good(tmp_path):
    dump(PLAIN, "memory://folder/a.json")

    assert load("memory://folder/a.json") == PLAIN


def test_the_format_may_be_given(tmp_path):
    dump(PLAIN, tmp_path / "noname", format="yaml")

    assert load(tmp_path / "noname", format="yml") == PLAIN


@pytest.mark.parametrize("path", ["a.txt", "noname"])
def test_an_unknown_format_is_refused_with_the_known_ones(path):
    for action in (lambda: load(path), lambda: dump({}, path)):
        with pytest.raises(TypeError, match=r"no format .*the formats are \['json', 'pickle'"):
            action()


def test_without_a_path_the_content_is_returned():
    assert json.loads(dump(PLAIN, format="json")) == PLAIN
    assert pickle.loads(dump(PLAIN, format="pkl")) == PLAIN
    with pytest.raises(ValueError, match="the format must be given"):
        dump(PLAIN)


def test_json_takes_sets_ranges_and_numpy():
    data = {"s": {3}, "r": range(2), "a": np.eye(2), "f": np.float32(0.5), "i": np.int64(4)}
    expected = {"s": [3], "r": [0, 1], "a": [[1, 0], [0, 1]], "f": 0.5, "i": 4}

    assert json.loads(dump(data, format="json")) == expected


@pytest.mark.parametrize("format", ["json", "yaml"])
def test_what_a_format_cannot_hold_is_refused(format):
    with pytest.raises(TypeError, match=r"cannot hold .*object"):
        dump({"a": object()}, format=format)


def test_yaml_does_not_build_objects(tmp_path):
    (tmp_path / "a.yaml").write_text("!!python/object/apply:os.getcwd []")

    with pytest.raises(DataError, match=r"cannot read .*a\.yaml as yaml: .*os\.getcwd"):
        load(tmp_path / "a.yaml")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        frozenset("ab"),
        b"bytes",
        bytearray(b"ab"),
        1 + 2j,
        collections.OrderedDict(a=1),
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.float64(3.5),
        np.array(["a", None], dtype=object),
        np.array([(1, 2.0)], dtype=[("x", "i4"), ("y", "f8")]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_pickle_may_hold_plain_containers_and_arrays(tmp_path, value, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    loaded = load(tmp_path / "a.pkl")

    assert type(loaded) is type(value)
    np.testing.assert_array_equal(loaded, value)


def test_a_pickle_of_python_2_loads(tmp_path):
    # {'w': array([1., 2.], dtype=float32)} as Python 2 with numpy 1 wrote it
    content = (
        b"\x80\x02}q\x00U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff"
        b"\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tbs."
    )
    (tmp_path / "a.pkl").write_bytes(content)

    np.testing.assert_array_equal(load(tmp_path / "a.pkl")["w"], np.array([1, 2], np.float32))


class Trap:
    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path):
    trap = Trap()
    trap.folder = str(tmp_path / "made by the pickle")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"x": trap}))

    with pytest.raises(DataError, match=r"a\.pkl as pickle: refused to load posix\.mkdir"):
        load(tmp_path / "a.pkl")
    assert not os.path.exists(trap.folder)


@pytest.mark.parametrize("name", ["builtins.eval", "builtins.getattr", "numpy.load", "os.system"])
def test_what_is_not_plain_data_is_refused(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    (tmp_path / "a.pkl").write_bytes(f"c{module}\n{attribute}\n.".encode())

    with pytest.raises(DataError, match=f"refused to load {name}"):
        load(tmp_path / "a.pkl")


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.pkl"])
def test_an_empty_file_says_so(tmp_path, name):
    (tmp_path / name).write_bytes(b"\n")

    with pytest.raises(DataError, match=f"{name} is empty; expected"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"), [("a.json", b'{"a": '), ("a.yaml", b"a: ["), ("a.pkl", b"\x80\x04}")]
)
def test_a_truncated_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=f"cannot read .*{name} as "):
        load(tmp_path / name)
