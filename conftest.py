"""Settings of every suite in the workspace."""

import logging

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code: no deadline.
settings.register_profile("okulo", deadline=None)
settings.load_profile("okulo")


@pytest.fixture(autouse=True)
def root_logger():
    """A command sets up logging for its process; the next test must not inherit that."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    root.setLevel(level)
