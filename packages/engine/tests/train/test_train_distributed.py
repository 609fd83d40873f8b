"""Two processes and one: rows D2-220, D2-226, D2-252."""

import json
import os
import subprocess
import sys

import pytest
import torch
import train_toy
from attrs import evolve
from train_toy import ToyMapperConfig, ToyModelConfig, toy_catalog, toy_run

from okulo_core.config import save_config
from okulo_core.errors import OkuloError
from okulo_engine.checkpoint import list_checkpoints, read_latest
from okulo_engine.hooks import ClipGradientNormConfig
from okulo_engine.launch import choose_device
from okulo_engine.train import train


def plain_run(**changes):
    """Without batch norm and dropout, which see only their process's share of the batch."""
    return toy_run(
        model=ToyModelConfig(norm=False, noisy=False),
        clip_gradients=ClipGradientNormConfig(value=1.0),
        log_period=1,
        **changes,
    )


def torchrun(output, run, tmp_path):
    config = tmp_path / "run.yaml"
    save_config(run, config, toy_catalog())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, train_toy.__file__, str(output), str(config)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def records(output):
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_with_the_whole_batch(tmp_path, catalog):
    run = plain_run(accumulate=2)  # gradients are exchanged once per step all the same
    train(run, output_dir=tmp_path / "one", catalog=catalog)
    ended = torchrun(tmp_path / "two", run, tmp_path)
    assert ended.returncode == 0, ended.stderr

    one, two = records(tmp_path / "one"), records(tmp_path / "two")
    assert [r["step"] for r in one] == [r["step"] for r in two]
    for a, b in zip(one, two, strict=True):
        for name in ("total_loss", "loss_cls", "loss_size", "grad_norm", "toy/accuracy"):
            assert (name in a) == (name in b)
            if name in a:
                assert a[name] == pytest.approx(b[name], rel=2e-5), (a["step"], name)
    weights = [read_latest(tmp_path / name / "checkpoints").weights for name in ("one", "two")]
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_both_processes_stop_when_one_has_a_loss_that_is_no_number(tmp_path):
    run = plain_run()
    data = evolve(run.train_data, mapper=ToyMapperConfig(poison=107))
    ended = torchrun(tmp_path / "run", evolve(run, train_data=data), tmp_path)
    assert ended.returncode != 0
    for log in ("log.txt", "log.txt.rank1"):
        text = (tmp_path / "run" / log).read_text()
        assert "stopped by NonFiniteLossError: the loss is not finite at step" in text
        assert "107" in text.partition("images of the batch: ")[2]
    assert len(list_checkpoints(tmp_path / "run" / "failed")) == 1


def test_a_device_that_is_not_there_is_named():
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(OkuloError, match=f"there is no device {absent}, PyTorch finds"):
        choose_device(absent)
