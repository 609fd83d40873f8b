"""What differs between two configurations."""

from okulo_core.config import ABSENT, Change, diff


def test_lists_leaves_that_differ_in_order():
    old = {"a": {"x": 1, "y": [1, {"z": 2}]}, "b": 3, "c": None}
    new = {"a": {"x": 1, "y": [1, {"z": 5}, 7]}, "c": 0, "d": {}}
    assert diff(old, new) == [
        Change("a.y.1.z", 2, 5),
        Change("a.y.2", ABSENT, 7),
        Change("b", 3, ABSENT),
        Change("c", None, 0),
        Change("d", ABSENT, {}),
    ]


def test_equal_ones_differ_nowhere():
    assert diff({"a": [1, float("nan")], "b": {}}, {"a": [1, float("nan")], "b": {}}) == []


def test_a_value_of_another_type_differs():
    assert [str(change) for change in diff({"a": 1, "b": 1}, {"a": True, "b": 1.0})] == [
        "a: 1 -> True",
        "b: 1 -> 1.0",
    ]


def test_another_shape_is_one_change():
    assert [str(change) for change in diff({"a": {"x": 1}}, {"a": [1]})] == ["a: {'x': 1} -> [1]"]
    assert str(Change("a", ABSENT, 1)) == "a: absent -> 1"
