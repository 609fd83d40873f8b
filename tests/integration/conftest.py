"""A complete run that is small enough to train in seconds."""

import pytest

from okulo_core.config import load_config
from okulo_core.plugins import Plugins
from okulo_engine.run_config import RunConfig

TINY = (
    "model.backbone.out_channels=16",
    "model.backbone.bottom_up.stem_out_channels=8",
    "model.backbone.bottom_up.res2_out_channels=8",
    "model.roi_heads.box_head.fc_dims=[32]",
    "train_data.dataset.num_images=12",
    "train_data.dataset.image_size=[64, 64]",
    "train_data.dataset.max_objects=2",
    "train_data.batch_size=2",
    "train_data.workers=0",
    "test_data.dataset.num_images=3",
    "test_data.dataset.image_size=[64, 64]",
    "test_data.dataset.max_objects=2",
    "test_data.workers=0",
    "schedule.warmup_steps=2",
    "eval_period=0",
    "log_period=1",
    "checkpoint.best=null",
)


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return Plugins.installed(strict=True)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder where the drawn images are shared by all tests."""
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture
def settings(drawn) -> list[str]:
    """Overrides that make ``recipe://shapes`` tiny."""
    return [
        *TINY,
        f"train_data.dataset.root={drawn}",
        f"test_data.dataset.root={drawn}",
    ]


@pytest.fixture
def make_run(plugins, settings):
    """``make_run("steps=3")`` gives the tiny run with further overrides."""

    def make(*overrides: str) -> RunConfig:
        path = plugins.resolve_path("recipe://shapes")
        return load_config(path, RunConfig, plugins.catalog(), [*settings, *overrides])

    return make
