"""Public names and command-line flags change on purpose only.

``hatch run test:python tests/support/stored.py`` writes both lists again.
"""

import importlib

from stored import FLAGS, NAMES, command_line_flags, public_names


def test_public_names_equal_the_stored_list():
    assert public_names() == NAMES.read_text().splitlines()


def test_public_names_exist():
    for line in public_names():
        module, _, name = line.partition(":")
        assert hasattr(importlib.import_module(module), name), line


def test_command_line_flags_equal_the_stored_list():
    assert command_line_flags() == FLAGS.read_text().splitlines()
