"""Parameter groups, optimisers: rows D2-696 to D2-698, D2-251, golden/detectron2/solver."""

import json

import pytest
import torch
from torch import nn

from okulo_core.testing import shared_path
from okulo_engine.optim import (
    AdamWConfig,
    SGDConfig,
    get_default_optimizer_params,
    reduce_param_groups,
)


class Everything(nn.Module):
    """The model that the golden file describes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.gn = nn.GroupNorm(2, 4)
        self.ln = nn.LayerNorm(4)
        self.embedding = nn.Embedding(5, 4)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        self.extra = nn.Parameter(torch.zeros(3))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.shared = self.head[0]


def named(model, groups):
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [{**group, "params": [names[p] for p in group["params"]]} for group in groups]


@pytest.fixture
def golden():
    return json.loads(shared_path("golden/detectron2/solver.json").read_text())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("default", {}),
        ("norm_wd", {"weight_decay_norm": 0.0}),
        ("bias", {"bias_lr_factor": 2.0, "weight_decay_bias": 0.0}),
        ("all", {"weight_decay_norm": 0.003, "bias_lr_factor": 2.0, "weight_decay_bias": 0.5}),
        ("nesterov", {"nesterov": True}),
    ],
)
def test_sgd_sorts_parameters_as_detectron2_does(golden, case, options):
    expected = golden[f"build_optimizer/{case}"]
    config = SGDConfig(lr=expected["base_lr"], weight_decay=expected["weight_decay"], **options)
    model = Everything()
    groups = named(model, config.build(model).param_groups)
    compared = ("lr", "momentum", "weight_decay", "nesterov", "params")
    assert [{key: group[key] for key in compared} for group in groups] == expected["groups"]


@pytest.mark.shared
def test_overrides_win_by_the_last_part_of_the_name(golden):
    expected = golden["default_params/overrides"]
    model = Everything()
    groups = get_default_optimizer_params(model, **expected["args"])
    assert named(model, groups) == expected["groups"]


@pytest.mark.shared
def test_learning_rate_can_depend_on_the_full_name(golden):
    model = Everything()
    groups = get_default_optimizer_params(
        model, base_lr=0.1, lr_factor_func=lambda name: 0.5 if name.startswith("head") else 1.0
    )
    assert named(model, groups) == golden["default_params/lr_factor"]["groups"]


def test_without_options_there_is_one_group_of_all_that_trains():
    model = Everything()
    (group,) = get_default_optimizer_params(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert group.keys() == {"params"}
    assert sorted(map(id, group["params"])) == sorted(map(id, trained))


def test_adamw_gets_the_same_groups():
    model = Everything()
    groups = named(model, AdamWConfig(weight_decay=0.1).build(model).param_groups)
    decay = {name: group["weight_decay"] for group in groups for name in group["params"]}
    assert {name for name, value in decay.items() if value == 0.0} == {
        f"{norm}.{name}" for norm in ("bn", "gn", "ln") for name in ("weight", "bias")
    }
    assert decay["conv.bias"] == 0.1


def test_bias_options_given_twice_are_refused():
    with pytest.raises(ValueError, match=r"overrides\['bias'\].*leave out one"):
        get_default_optimizer_params(
            Everything(), weight_decay_bias=0.1, overrides={"bias": {"weight_decay": 0.2}}
        )


@pytest.mark.parametrize("options", [{"bias_lr_factor": 2.0}, {"lr_factor_func": lambda name: 1.0}])
def test_factor_needs_a_base(options):
    with pytest.raises(ValueError, match="base_lr is None; give base_lr"):
        get_default_optimizer_params(Everything(), **options)


def test_reducing_merges_equal_groups_and_lets_the_last_options_win():
    a, b, c = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    groups = reduce_param_groups(
        [
            {"params": [a, b], "lr": 1.0, "param_names": ["a", "b"]},
            {"params": [c], "lr": 2.0, "param_names": ["c"]},
            {"params": [b], "lr": 2.0, "weight_decay": 0.5, "param_names": ["b"]},
            {"params": [c], "weight_decay": 0.5, "param_names": ["c"]},
        ]
    )
    assert groups == [
        {"params": [a], "lr": 1.0, "param_names": ["a"]},
        {"params": [b, c], "lr": 2.0, "weight_decay": 0.5, "param_names": ["b", "c"]},
    ]


def test_reducing_nothing_gives_nothing():
    assert reduce_param_groups([]) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGDConfig(lr=0.0), "'lr' must be > 0"),
        (lambda: SGDConfig(momentum=1.0), "'momentum' must be < 1"),
        (lambda: SGDConfig(weight_decay_norm=-1.0), "'weight_decay_norm' must be >= 0"),
        (lambda: AdamWConfig(betas=(0.9, 1.0)), "'betas' must be < 1"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
