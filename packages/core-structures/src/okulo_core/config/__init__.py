"""Typed configuration: frozen attrs classes, the plain data that states them, and files.

A configuration is composed in Python or stated by plain data of the same shape, in which ``type``
chooses a component. Nothing here executes what a file contains, and nothing imports torch.
"""

from okulo_core.config.diffing import ABSENT, Change, diff
from okulo_core.config.fields import part, parts
from okulo_core.config.files import load_config, read_file, save_config
from okulo_core.config.schema import json_schema
from okulo_core.config.structuring import structure, structure_part
from okulo_core.config.unstructuring import unstructure, unstructure_part

__all__ = [
    "ABSENT",
    "Change",
    "diff",
    "json_schema",
    "load_config",
    "part",
    "parts",
    "read_file",
    "save_config",
    "structure",
    "structure_part",
    "unstructure",
    "unstructure_part",
]
