"""Recipes are complete runs: they can be read, and the YAML and Python forms are one run."""

import pytest

from okulo_core.config import load_config, unstructure
from okulo_core.errors import MissingFileError
from okulo_core.plugins import Plugins
from okulo_engine.run_config import RunConfig
from okulo_recipes import bccd, shapes
from okulo_recipes.plugin import RUNS

IN_PYTHON = {
    "shapes": shapes.run,
    "bccd": bccd.run,
    "bccd_reference": bccd.reference,
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.installed(strict=True)


def load(name: str, plugins: Plugins) -> RunConfig:
    return load_config(plugins.resolve_path(f"recipe://{name}"), RunConfig, plugins.catalog())


def test_every_file_has_its_python_form():
    assert {path.stem for path in RUNS.glob("*.yaml")} == set(IN_PYTHON)


@pytest.mark.parametrize("name", IN_PYTHON)
def test_yaml_and_python_are_the_same_run(name, plugins):
    composed = IN_PYTHON[name]()
    loaded = load(name, plugins)
    assert unstructure(loaded, plugins.catalog()) == unstructure(composed, plugins.catalog())
    assert loaded == composed


@pytest.mark.parametrize("name", IN_PYTHON)
def test_the_model_builds(name, plugins):
    config = load(name, plugins)
    assert config.model.build().num_classes == config.model.num_classes


def test_unknown_recipe_names_the_known_ones(plugins):
    with pytest.raises(MissingFileError, match="no recipe named 'bcdc'; there are: bccd, "):
        plugins.resolve_path("recipe://bcdc")


def test_other_paths_are_left_alone(plugins):
    assert plugins.resolve_path("some/run.yaml") == "some/run.yaml"


def test_reference_has_the_settings_of_the_original(plugins):
    run = load("bccd_reference", plugins)
    assert (run.steps, run.train_data.batch_size, run.optimizer.lr) == (800, 4, 0.02)
    assert run.schedule.milestones == (600, 736)
    assert (run.schedule.warmup_steps, run.schedule.warmup_factor) == (100, 0.001)
    backbone = run.model.backbone
    assert (backbone.norm, backbone.bottom_up.norm, backbone.bottom_up.freeze_at) == ("BN", "BN", 0)
    assert run.model.proposal_generator.post_nms_topk == (300, 1000)
