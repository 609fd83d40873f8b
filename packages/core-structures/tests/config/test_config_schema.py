"""The JSON schema says what structuring does; the oracle is a validator written for this test."""

import pytest

from okulo_core.catalog import Catalog
from okulo_core.config import json_schema, structure
from okulo_core.errors import ConfigError
from okulo_core.hookspecs import Component

_TYPES = {
    "null": type(None), "boolean": bool, "string": str, "array": list, "object": dict,
}  # fmt: skip


def is_type(data, name):
    if name in ("integer", "number"):
        return type(data) is int or (name == "number" and type(data) is float)
    return type(data) is _TYPES[name]


def valid(data, schema, root):
    """The keywords of draft 2020-12 that the schemas use."""
    if schema is False:
        return False
    if "$ref" in schema and not valid(data, root["$defs"][schema["$ref"].split("/")[-1]], root):
        return False
    if "anyOf" in schema and not any(valid(data, s, root) for s in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(valid(data, s, root) for s in schema["oneOf"]) != 1:
        return False
    if "enum" in schema and data not in schema["enum"]:
        return False
    if "type" in schema and not is_type(data, schema["type"]):
        return False
    if isinstance(data, dict):
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties", {})
        return all(key in data for key in schema.get("required", [])) and all(
            valid(value, known.get(key, rest), root) for key, value in data.items()
        )
    if isinstance(data, list):
        first = schema.get("prefixItems", [])
        return len(data) >= schema.get("minItems", 0) and all(
            valid(item, first[i] if i < len(first) else schema.get("items", {}), root)
            for i, item in enumerate(data)
        )
    return True


MODEL = {"type": "detector", "version": 3, "num_classes": 3}
GOOD = [
    {"model": MODEL},
    {"model": {"type": "okulo-toys:detector", "version": 3, "num_classes": 3}},
    {"model": {**MODEL, "backbone": {"bottom_up": {"depth": 18}}}},
    {"model": {**MODEL, "backbone": {"type": "fpn", "bottom_up": {"type": "resnet"}}}},
    {"model": {**MODEL, "backbone": {"type": "resnet", "norm": "FrozenBN"}}},
    {"model": {**MODEL, "losses": {"a": {"type": "focal", "gamma": 1}}}},
    {"model": MODEL, "augmentations": [{"type": "resize", "short": 3}, {"type": "flip"}]},
    {"model": MODEL, "visualizer": None, "crop": [1, 2], "scale": 2.5, "weights": "a"},
    {"model": MODEL, "level": "LOW", "checkpoint": {"keep": None}, "extras": {"a": 1}},
    {"model": MODEL, "anything": {"x": [1, None]}},
]
BAD = [
    {},
    {"model": {"num_classes": 3}},
    {"model": {"type": "detector", "version": 3}},
    {"model": {**MODEL, "num_classes": "3"}},
    {"model": {**MODEL, "backbone": {"type": "focal"}}},
    {"model": {**MODEL, "backbone": {"depth": 18}}},
    {"model": {**MODEL, "losses": {"a": {"gamma": 1}}}},
    {"model": MODEL, "augmentations": [{"type": "resize"}]},
    {"model": MODEL, "augmentations": {"type": "flip"}},
    {"model": MODEL, "visualizer": {}},
    {"model": MODEL, "crop": [1]},
    {"model": MODEL, "crop": [1, 2, 3]},
    {"model": MODEL, "scale": "big"},
    {"model": MODEL, "level": "MIDDLE"},
    {"model": MODEL, "amp": "bf8"},
    {"model": MODEL, "deterministic": 1},
    {"model": MODEL, "checkpoint": {"kept": 1}},
    {"model": MODEL, "stpes": 1},
]


@pytest.mark.parametrize("data", GOOD, ids=str)
def test_what_structures_is_valid(data, catalog, toys):
    structure(data, toys.RunConfig, catalog)
    schema = json_schema(toys.RunConfig, catalog)
    assert valid(data, schema, schema)


@pytest.mark.parametrize("data", BAD, ids=str)
def test_what_does_not_structure_is_invalid(data, catalog, toys):
    with pytest.raises(ConfigError):
        structure(data, toys.RunConfig, catalog)
    schema = json_schema(toys.RunConfig, catalog)
    assert not valid(data, schema, schema)


def test_says_what_editors_show(catalog, toys):
    schema = json_schema(toys.RunConfig, catalog)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["description"] == "A toy run."
    assert schema["properties"]["steps"] == {"type": "integer", "default": 800}
    assert schema["properties"]["augmentations"]["default"][1] == {
        "type": "flip",
        "probability": 0.5,
    }
    assert schema["$defs"]["backbone.resnet"]["properties"]["depth"]["default"] == 50
    assert valid({"base": ["a", "b"], "model": MODEL}, schema, schema)


def test_a_component_that_cannot_be_imported_is_left_out(catalog, toys):
    gone = Component(kind="backbone", name="gone", config="no_such_module:Config")
    more = Catalog([*catalog.components(), ("okulo-gone", gone)])
    schema = json_schema(toys.RunConfig, more)
    assert "backbone.gone" not in schema["$defs"]
    assert "backbone.fpn" in schema["$defs"]
