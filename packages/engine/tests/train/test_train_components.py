"""Each component of the engine keeps the contract that plugins keep."""

import pytest
import torch
from torch import nn

from okulo_core.testing import check_component
from okulo_engine.plugin import okulo_components

KINDS = ("optimizer", "schedule", "gradient_clipping", "logger")
COMPONENTS = [(item.kind, item.name) for item in okulo_components() if item.kind in KINDS]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_component_keeps_the_contract(kind, name, catalog, tmp_path):
    if name == "tensorboard":
        pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    arguments = {
        "optimizer": (nn.Linear(1, 1),),
        "schedule": (torch.optim.SGD([nn.Parameter(torch.zeros(1))]), 2000),
        "gradient_clipping": (),
        "logger": (tmp_path,),
    }
    config = catalog.config_class(kind, name)
    check_component(config, kind=kind, catalog=catalog, build_args=arguments[kind])
