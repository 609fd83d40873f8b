"""Instances: rows D2-520 to D2-525."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_core.structures import (
    BitMasks,
    Boxes,
    Instances,
    Keypoints,
    PolygonMasks,
    RotatedBoxes,
    pairwise_iou,
)

TRIANGLE = [0.0, 0.0, 4.0, 0.0, 0.0, 4.0]


def every_kind(count=4):
    """One field of each kind, row k marked by the number k."""
    number = torch.arange(count, dtype=torch.float32)
    return Instances(
        (10, 20),
        scores=number,
        names=[f"row {k}" for k in range(count)],
        boxes=Boxes(number[:, None].expand(count, 4)),
        rotated=RotatedBoxes(number[:, None].expand(count, 5)),
        keypoints=Keypoints(number[:, None, None].expand(count, 2, 3)),
        bits=BitMasks(torch.eye(count)[:, :, None].bool()),
        polygons=PolygonMasks([[[k + value for value in TRIANGLE]] for k in range(count)]),
    )


def numbers(instances):
    """Which rows each field holds."""
    return {
        "scores": instances.scores.tolist(),
        "names": [int(name.split()[1]) for name in instances.names],
        "boxes": instances.boxes.tensor[:, 0].tolist(),
        "rotated": instances.rotated.tensor[:, 0].tolist(),
        "keypoints": instances.keypoints.tensor[:, 0, 0].tolist(),
        "bits": instances.bits.tensor[:, :, 0].int().argmax(dim=1).tolist(),
        "polygons": [polygons[0][0] for polygons in instances.polygons],
    }


class TestFields:
    """D2-520, D2-521."""

    def test_fields_are_attributes(self):
        instances = Instances((10, 20), scores=torch.ones(2))
        instances.boxes = Boxes(torch.zeros(2, 4))
        assert instances.image_size == (10, 20)
        assert isinstance(instances.boxes, Boxes)
        assert instances.get("scores") is instances.scores

    def test_an_unknown_field_is_an_attribute_error(self):
        with pytest.raises(
            AttributeError, match="Cannot find field 'scores' in the given Instances!"
        ):
            Instances((10, 20)).scores  # noqa: B018

    def test_names_with_an_underscore_are_no_fields(self):
        instances = Instances((10, 20))
        instances._note = "private"
        assert instances._note == "private"
        assert instances.get_fields() == {}

    def test_the_image_size_is_fixed(self):
        with pytest.raises(AttributeError, match="image_size is fixed"):
            Instances((10, 20)).image_size = (1, 2)

    def test_the_first_field_fixes_the_length(self):
        instances = Instances((10, 20), scores=torch.ones(2))
        with pytest.raises(ValueError, match=r"field 'names' must have 2 rows .*, got 3"):
            instances.names = ["a", "b", "c"]
        with pytest.raises(ValueError, match="field 'scores' must have 2 rows"):
            instances.scores = torch.ones(3)  # also when it would replace the only one
        instances.remove("scores")
        instances.scores = torch.ones(3)
        assert len(instances) == 3

    def test_has_and_in(self):
        instances = Instances((10, 20), scores=torch.ones(2))
        assert instances.has("scores")
        assert "scores" in instances
        assert not instances.has("boxes")
        assert "boxes" not in instances

    def test_get_and_remove_of_an_unknown_name_are_key_errors(self):
        instances = Instances((10, 20), scores=torch.ones(2))
        instances.remove("scores")
        for method in (instances.get, instances.remove):
            with pytest.raises(KeyError):
                method("scores")

    def test_get_fields_is_the_dict_itself(self):
        instances = Instances((10, 20), scores=torch.ones(2))
        instances.get_fields()["names"] = ["a", "b"]
        assert instances.names == ["a", "b"]

    def test_copies_and_pickles(self):
        instances = every_kind()
        for other in (
            copy.deepcopy(instances),
            copy.copy(instances),
            pickle.loads(pickle.dumps(instances)),
        ):
            assert numbers(other) == numbers(instances)
            assert other.image_size == (10, 20)

    def test_repr(self):
        text = repr(Instances((10, 20), scores=torch.ones(2)))
        assert text.startswith(
            "Instances(num_instances=2, image_height=10, image_width=20, fields="
        )
        assert "num_instances=0" in repr(Instances((10, 20)))


class TestIndexing:
    """D2-522, D2-523."""

    @pytest.mark.parametrize(
        ("item", "rows"),
        [
            (0, [0]),
            (3, [3]),
            (-1, [3]),
            (-4, [0]),
            (np.int64(2), [2]),
            (slice(1, 3), [1, 2]),
            (slice(None, None, 2), [0, 2]),
            (torch.tensor([True, False, False, True]), [0, 3]),
            (torch.tensor([2, 0, 2]), [2, 0, 2]),
            ([1, 3], [1, 3]),
            (torch.zeros(4, dtype=torch.bool), []),
        ],
        ids=str,
    )
    def test_every_field_is_indexed(self, item, rows):
        selected = every_kind()[item]
        assert selected.image_size == (10, 20)
        assert numbers(selected) == dict.fromkeys(every_kind().get_fields(), rows)
        assert len(selected) == len(rows)

    @pytest.mark.parametrize("index", [4, -5])
    def test_an_int_outside_is_an_index_error(self, index):
        with pytest.raises(IndexError, match=rf"expected an index in \[-4, 4\), got {index}"):
            every_kind()[index]

    def test_a_string_gives_the_field(self):
        instances = every_kind()
        assert instances["scores"] is instances.scores

    def test_without_fields_there_is_no_length(self):
        with pytest.raises(NotImplementedError, match="without any field"):
            len(Instances((10, 20)))

    def test_iteration_is_refused(self):
        with pytest.raises(NotImplementedError, match="not iterable"):
            iter(every_kind())

    def test_no_rows(self):
        empty = every_kind()[:0]
        assert len(empty) == 0
        assert tuple(empty.boxes.tensor.shape) == (0, 4)
        assert tuple(empty.bits.tensor.shape) == (0, 4, 1)


def test_to_moves_what_can_be_moved():
    """D2-524."""
    instances = Instances((10, 20), boxes=Boxes(torch.zeros(2, 4)), names=["a", "b"])
    moved = instances.to("meta")
    assert moved.boxes.device.type == "meta"
    assert moved.names is instances.names
    assert instances.boxes.device.type == "cpu"
    assert every_kind().to(torch.device("cpu"), non_blocking=True).image_size == (10, 20)


class TestCat:
    """D2-525."""

    def test_every_field_is_concatenated(self):
        instances = every_kind()
        joined = Instances.cat([instances, instances[:0], instances[2:]])
        assert numbers(joined) == {name: [0, 1, 2, 3, 2, 3] for name in every_kind().get_fields()}
        assert joined.image_size == (10, 20)

    def test_a_single_element_is_returned_itself(self):
        instances = every_kind()
        assert Instances.cat([instances]) is instances

    def test_the_first_element_says_which_fields(self):
        first = Instances((10, 20), scores=torch.ones(1))
        second = Instances((10, 20), scores=torch.ones(1), names=["a"])
        assert set(Instances.cat([first, second]).get_fields()) == {"scores"}
        with pytest.raises(KeyError, match="names"):
            Instances.cat([second, first])

    def test_other_image_sizes_are_refused(self):
        one, other = Instances((10, 20), a=[1]), Instances((10, 21), a=[1])
        with pytest.raises(ValueError, match=r"got \(10, 20\) and \(10, 21\)"):
            Instances.cat([one, other])

    def test_image_sizes_that_are_tensors_are_not_compared(self):
        sizes = [torch.tensor([10, 20]), torch.tensor([10, 21])]
        joined = Instances.cat([Instances(size, a=[1]) for size in sizes])
        assert joined.a == [1, 1]

    def test_what_cannot_be_concatenated_is_refused(self):
        instances = Instances((10, 20), names=("a", "b"))
        with pytest.raises(ValueError, match="field 'names' cannot be concatenated: tuple"):
            Instances.cat([instances, instances])

    def test_bad_arguments_are_refused(self):
        with pytest.raises(ValueError, match=r"at least one Instances, got \[\]"):
            Instances.cat([])
        with pytest.raises(TypeError, match="needs Instances only, got Boxes"):
            Instances.cat([every_kind(), Boxes([])])


@given(st.lists(st.integers(0, 6), max_size=4))
def test_cutting_and_joining_gives_the_whole(cuts):
    instances = every_kind(6)
    edges = [0, *sorted(cuts), 6]
    parts = [instances[a:b] for a, b in itertools.pairwise(edges)]
    assert numbers(Instances.cat(parts)) == numbers(instances)


def test_functions_of_instances_compile_as_one_graph():
    def merged(boxes, scores):
        instances = Instances((20, 30), boxes=Boxes(boxes))
        instances.scores = scores
        instances.boxes.clip(instances.image_size)
        both = Instances.cat([instances, instances[1:3]])
        return pairwise_iou(both.boxes, instances.boxes), both.scores * both.boxes.area(), both

    boxes, scores = torch.rand(5, 4) * 40, torch.rand(5)
    compiled = torch.compile(merged, fullgraph=True, backend="eager")
    ours, expected = compiled(boxes, scores), merged(boxes, scores)
    assert torch.equal(ours[0], expected[0])
    assert torch.equal(ours[1], expected[1])
    assert len(ours[2]) == 7
