"""Whole runs of the toy: rows D2-228, D2-231, D2-232, D2-233, D2-235, D2-Q14; messages."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from attrs import evolve
from train_toy import ToyDatasetConfig, ToyMapperConfig, ToyModelConfig, toy_run

from okulo_core.config import load_config
from okulo_core.errors import CheckpointError, ConfigError, OkuloError
from okulo_engine.checkpoint import folder as folder_module
from okulo_engine.checkpoint import list_checkpoints, read_checkpoint, read_latest
from okulo_engine.hooks import (
    CheckpointConfig,
    ClipGradientNormConfig,
    HookBase,
    NonFiniteLossError,
)
from okulo_engine.optim import AdamWConfig, CosineConfig
from okulo_engine.run_config import RunConfig
from okulo_engine.train import evaluate, train

FINAL = "checkpoints/step_00000030"


class StopAt(HookBase):
    def __init__(self, step):
        self.step = step

    def after_step(self, state):
        if state.step == self.step:
            raise KeyboardInterrupt


def final(output):
    return read_checkpoint(Path(output) / FINAL)


def assert_same(a, b):
    """Two finished runs ended in the same bits, weights and everything else."""
    assert a.weights.keys() == b.weights.keys()
    assert all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)
    assert identical(a.state, b.state)


def identical(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    return a == b


def losses(output):
    lines = [json.loads(line) for line in (Path(output) / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("total_loss"), line.get("toy/accuracy")) for line in lines]


def with_data(run, dataset=None, mapper=None, **changes):
    data = evolve(
        run.train_data,
        dataset=dataset or run.train_data.dataset,
        mapper=mapper or run.train_data.mapper,
        **changes,
    )
    return evolve(run, train_data=data, test_data=data)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The output of one uninterrupted run."""
    from train_toy import toy_catalog

    output = tmp_path_factory.mktemp("runs") / "whole"
    torch.set_num_threads(1)
    train(toy_run(), output_dir=output, catalog=toy_catalog())
    return output


def test_a_run_learns_and_returns_its_last_results(tmp_path, catalog):
    assert train(toy_run(), output_dir=tmp_path, catalog=catalog) == {"toy": {"accuracy": 100.0}}


def test_the_output_holds_all_that_tells_of_the_run(finished, catalog):
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "environment.json",
        "log.txt",
        "metrics.jsonl",
    ]
    assert load_config(finished / "config.yaml", RunConfig, catalog) == toy_run()
    assert json.loads((finished / "environment.json").read_text())["versions"]["torch"]
    assert [step for step, loss, _ in losses(finished) if loss] == [5, 10, 15, 20, 25, 30]
    assert [step for step, _, accuracy in losses(finished) if accuracy] == [10, 20, 30]


def test_a_checkpoint_knows_its_configuration_data_and_versions(finished, catalog):
    from okulo_core.config import structure
    from okulo_core.data import DatasetInfo

    checkpoint = final(finished)
    assert structure(json.loads(checkpoint.metadata["config"]), RunConfig, catalog) == toy_run()
    info = DatasetInfo.from_dict(json.loads(checkpoint.metadata["info"]))
    assert info.thing_classes == ("circle", "square", "star")
    assert "okulo-engine" in json.loads(checkpoint.metadata["versions"])
    assert checkpoint.state["optimizer"]["state"]


def test_the_same_run_twice_gives_the_same_bits(finished, tmp_path, catalog):
    train(toy_run(), output_dir=tmp_path, catalog=catalog)
    assert_same(final(tmp_path), final(finished))


@pytest.mark.parametrize("stop", [1, 7, 10, 29])
def test_a_run_broken_off_and_resumed_ends_in_the_same_bits(finished, tmp_path, catalog, stop):
    with pytest.raises(KeyboardInterrupt):
        train(toy_run(), output_dir=tmp_path, catalog=catalog, hooks=[StopAt(stop)])
    train(toy_run(), output_dir=tmp_path, catalog=catalog, resume=True)
    assert_same(final(tmp_path), final(finished))
    assert [step for step, *_ in losses(tmp_path)] == [step for step, *_ in losses(finished)]


def test_all_that_a_run_may_use_is_resumed(tmp_path, catalog):
    run = toy_run(
        optimizer=AdamWConfig(lr=0.01),
        schedule=CosineConfig(warmup_steps=3),
        clip_gradients=ClipGradientNormConfig(value=0.5),
        accumulate=2,
        amp="bf16",
    )
    run = with_data(run, workers=2)
    train(run, output_dir=tmp_path / "whole", catalog=catalog)
    with pytest.raises(KeyboardInterrupt):
        train(run, output_dir=tmp_path / "cut", catalog=catalog, hooks=[StopAt(13)])
    train(run, output_dir=tmp_path / "cut", catalog=catalog, resume=True)
    assert_same(final(tmp_path / "cut"), final(tmp_path / "whole"))


def test_resuming_a_finished_run_gives_its_results_again(finished, tmp_path, catalog):
    output = tmp_path / "copy"
    shutil.copytree(finished, output)
    results = train(toy_run(), output_dir=output, catalog=catalog, resume=True)
    assert results == {"toy": {"accuracy": 100.0}}
    assert losses(output) == losses(finished)


def test_a_damaged_checkpoint_is_passed_over_when_resuming(finished, tmp_path, catalog, caplog):
    output = tmp_path / "copy"
    shutil.copytree(finished, output)
    file = output / FINAL / "model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    train(toy_run(), output_dir=output, catalog=catalog, resume=True)
    assert "(200 bytes) is truncated or changed" in caplog.text
    assert "falling back to" in caplog.text
    assert_same(final(output), final(finished))


def test_a_folder_of_another_run_is_refused(finished, catalog):
    with pytest.raises(OkuloError, match="holds another run; continue that one with --resume"):
        train(toy_run(), output_dir=finished, catalog=catalog)


def test_a_folder_with_other_things_in_it_will_do(tmp_path, catalog):
    (tmp_path / "notes.txt").write_text("mine")
    train(toy_run(steps=1), output_dir=tmp_path, catalog=catalog)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "checkpoints" / "step_00000001").is_dir()


def test_resuming_where_nothing_is_starts_from_the_beginning(tmp_path, catalog, caplog):
    train(toy_run(steps=1), output_dir=tmp_path, catalog=catalog, resume=True)
    assert "has no checkpoint to resume from; starting at step 0" in caplog.text


def test_what_changed_since_the_run_began_is_said(tmp_path, catalog, caplog):
    train(toy_run(steps=5), output_dir=tmp_path, catalog=catalog)
    train(toy_run(steps=8), output_dir=tmp_path, catalog=catalog, resume=True)
    assert "the configuration has changed since the run began: steps: 5 -> 8" in caplog.text
    assert read_latest(tmp_path / "checkpoints").state["step"] == 8


def test_resuming_another_architecture_gives_the_table(tmp_path, catalog):
    train(toy_run(steps=5), output_dir=tmp_path, catalog=catalog)
    wider = toy_run(steps=8, model=ToyModelConfig(width=5))
    with pytest.raises(CheckpointError, match=r"conv\.weight +\(8, 3, 3, 3\) +\(5, 3, 3, 3\)"):
        train(wider, output_dir=tmp_path, catalog=catalog, resume=True)


def test_training_starts_from_given_weights(finished, tmp_path, catalog):
    run = toy_run(steps=1, init_weights=str(finished))
    run = evolve(run, optimizer=evolve(run.optimizer, lr=1e-12))
    train(run, output_dir=tmp_path, catalog=catalog)
    started = read_latest(tmp_path / "checkpoints").weights
    torch.testing.assert_close(started["head.weight"], final(finished).weights["head.weight"])


def test_given_weights_may_fit_in_part_on_request(finished, tmp_path, catalog, caplog):
    classes = ("circle", "square", "star", "moon")
    data = {"dataset": ToyDatasetConfig(classes=classes[:3])}
    run = with_data(toy_run(steps=1, init_weights=str(finished)), **data)
    run = evolve(run, model=ToyModelConfig(width=8, norm=False))
    with pytest.raises(CheckpointError, match=r"norm\.weight +\(8,\) +- +unexpected"):
        train(run, output_dir=tmp_path / "a", catalog=catalog)
    caplog.set_level("INFO")
    train(evolve(run, init_partial=True), output_dir=tmp_path / "b", catalog=catalog)
    assert "4 unexpected" in caplog.text


def test_another_number_of_classes_than_the_data_has_is_refused_at_once(tmp_path, catalog):
    run = toy_run(model=ToyModelConfig(num_classes=80))
    with pytest.raises(ConfigError) as caught:
        train(run, output_dir=tmp_path, catalog=catalog)
    assert (
        "model.num_classes: is 80, but toy has 3 classes (circle, square, star); "
        "set model.num_classes=3"
    ) in str(caught.value)
    assert not list_checkpoints(tmp_path / "checkpoints")


def test_test_data_of_other_classes_is_refused_at_once(tmp_path, catalog):
    run = toy_run()
    other = evolve(run.test_data, dataset=ToyDatasetConfig(classes=("square", "circle", "star")))
    with pytest.raises(ConfigError, match="must be the same, in the same order"):
        train(evolve(run, test_data=other), output_dir=tmp_path, catalog=catalog)


def test_a_loss_that_is_no_number_ends_the_run_with_its_state_saved(tmp_path, catalog):
    run = with_data(toy_run(), mapper=ToyMapperConfig(poison=107))
    with pytest.raises(NonFiniteLossError) as caught:
        train(run, output_dir=tmp_path, catalog=catalog)
    message = str(caught.value)
    (saved,) = list_checkpoints(tmp_path / "failed")
    assert str(saved) in message
    assert "loss_cls = nan, loss_size = nan" in message
    assert "107" in message.partition("images of the batch: ")[2].partition(";")[0]
    weights = read_checkpoint(saved).weights
    assert weights["head.weight"].isfinite().all(), "the step must not have been taken"
    assert message in (tmp_path / "log.txt").read_text()


def test_a_full_disk_ends_the_run_with_the_old_checkpoint_intact(tmp_path, catalog, monkeypatch):
    write = folder_module._write_through

    def filling(path, data):
        if "step_00000010" in str(path):
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(folder_module, "_write_through", filling)
    with pytest.raises(
        CheckpointError, match=r"No space left on device; .*step_00000005 is intact"
    ):
        train(toy_run(), output_dir=tmp_path, catalog=catalog)
    assert read_latest(tmp_path / "checkpoints").state["step"] == 5


def test_a_run_needs_no_evaluation(tmp_path, catalog):
    run = toy_run(steps=2, evaluators=(), test_data=None)
    assert train(run, output_dir=tmp_path, catalog=catalog) == {}


def test_evaluators_need_data():
    with pytest.raises(ValueError, match="evaluators need test_data, got none"):
        toy_run(test_data=None)


def test_evaluating_needs_data():
    with pytest.raises(ConfigError, match="test_data: the run has none"):
        evaluate(toy_run(test_data=None, evaluators=()), ToyModelConfig().build())


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_learns_on_a_cpu(tmp_path, catalog, amp):
    results = train(toy_run(amp=amp), output_dir=tmp_path, catalog=catalog)
    assert results["toy"]["accuracy"] == 100.0
    state = final(tmp_path).state["scaler"]
    assert bool(state) == (amp == "fp16")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "'steps' must be >= 1"),
        ({"amp": "fp8"}, "'amp' must be in"),
        ({"checkpoint": None}, "'checkpoint' must be <class .*CheckpointConfig"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, catalog, changes, message):
    with pytest.raises((ValueError, TypeError, OkuloError), match=message):
        train(toy_run(**changes), output_dir=tmp_path, catalog=catalog)


def test_deterministic_algorithms_are_asked_for_during_the_run_only(tmp_path, catalog):
    seen = []

    class Look(HookBase):
        def after_step(self, state):
            seen.append(torch.are_deterministic_algorithms_enabled())

    look = {"hooks": [Look()], "catalog": catalog}
    train(toy_run(steps=1), output_dir=tmp_path / "a", **look)
    train(toy_run(steps=1, deterministic=False), output_dir=tmp_path / "b", **look)
    assert seen == [True, False]
    assert not torch.are_deterministic_algorithms_enabled()


def test_keeping_checkpoints_is_a_matter_of_the_configuration(tmp_path, catalog):
    run = toy_run(checkpoint=CheckpointConfig(period=3, keep=4))
    train(run, output_dir=tmp_path, catalog=catalog)
    steps = [path.name[-2:] for path in list_checkpoints(tmp_path / "checkpoints")]
    assert steps == ["21", "24", "27", "30"]
