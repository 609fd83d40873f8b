"""YAML, TOML and JSON text to plain data and back; safe, and without surprises.

YAML is read by the core schema of YAML 1.2: ``1e-4`` is a number, ``no`` and ``on`` are words, a
date is text, and a key may not appear twice. Only plain data is made, whatever the tags say.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w
import yaml

__all__ = ["dump_json", "dump_toml", "dump_yaml", "parse_json", "parse_toml", "parse_yaml"]

_TAGS = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), list("-+0123456789")),
    (
        "float",
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
            r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        list("-+.0123456789"),
    ),
    ("merge", re.compile(r"<<"), ["<"]),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - as PyYAML declares it; none of YAML 1.1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} appears twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return node

    def construct_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)

    def refuse(self, node: yaml.Node) -> None:
        raise yaml.constructor.ConstructorError(
            None,
            None,
            f"the tag {node.tag!r} is refused: a configuration holds plain data and runs no code; "
            "name a component with 'type'",
            node.start_mark,
        )


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - as PyYAML declares it; none of YAML 1.1

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        # PyYAML loses some line breaks (U+0085) in every style but the one with escapes.
        style = None if data.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def represent_row(self, data: list[Any]) -> yaml.SequenceNode:
        flat = not any(isinstance(item, dict) for item in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flat)


for _tag, _pattern, _first in _TAGS:
    # The whole text must match; PyYAML itself looks at the beginning only.
    _whole = re.compile(f"(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _whole, _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _whole, _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.add_constructor(None, _Loader.refuse)
_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(list, _Dumper.represent_row)


def parse_yaml(text: str) -> Any:
    """Plain data of YAML text; a ValueError tells the line of a fault."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"line {line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def dump_yaml(data: Mapping[str, Any]) -> str:
    """YAML text in the order of ``data``; a list without mappings stands on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def parse_json(text: str) -> Any:
    """Plain data of JSON text; a ValueError tells the line of a fault."""
    return json.loads(text, object_pairs_hook=_unique)


def dump_json(data: Mapping[str, Any]) -> str:
    """JSON text in the order of ``data``."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def parse_toml(text: str) -> Any:
    """Plain data of TOML text; a ValueError tells the line of a fault."""
    return tomllib.loads(text)


def dump_toml(data: Mapping[str, Any]) -> str:
    """TOML text in the order of ``data``; TOML has no null, so such keys are left out."""
    return tomli_w.dumps(_without_null(data))


def _without_null(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(k): _without_null(v) for k, v in data.items() if v is not None}
    if isinstance(data, list):
        return [_without_null(item) for item in data if item is not None]
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} appears twice")
    return result
