"""The toy run of these tests: small enough to train many times."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # scripts started by tests import train_toy too


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def catalog():
    from train_toy import toy_catalog

    return toy_catalog()
