"""Faster R-CNN over processes: two train as one does, and a killed run goes on to the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from safetensors.numpy import load_file

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

# Nothing is left to chance and every image counts the same, so that the loss of a batch is the mean
# of the losses of its halves: all anchors, a fixed number of proposals, frozen norms.
WITHOUT_CHANCE = (
    "model.backbone.norm=FrozenBN",
    "model.backbone.bottom_up.norm=FrozenBN",
    "model.proposal_generator.batch_size_per_image=100000",
    "model.proposal_generator.nms_thresh=1.0",
    "model.proposal_generator.pre_nms_topk=[40, 40]",
    "model.proposal_generator.post_nms_topk=[40, 40]",
    "model.roi_heads.batch_size_per_image=100000",
    "model.roi_heads.proposal_append_gt=false",
    "train_data.dataset.max_objects=1",
    "train_data.batch_size=4",
    "evaluators=[]",
    "optimizer.lr=0.001",
)


def command(*arguments: str, processes: int = 1) -> list[str]:
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*start, "-m", "okulo_engine.cli.main", "train", "recipe://shapes", *arguments]


def losses(output) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if "loss" in k} for line in lines if "total_loss" in line
    ]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_with_the_whole_batch(settings, tmp_path):
    for processes in (1, 2):
        arguments = [
            *settings,
            *WITHOUT_CHANCE,
            "steps=3",
            "--output",
            str(tmp_path / str(processes)),
        ]
        subprocess.run(
            command(*arguments, processes=processes), check=True, env=ENVIRONMENT, timeout=300
        )
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert len(one) == 3
    for first, second in zip(one, two, strict=True):
        assert second == pytest.approx(first, rel=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_and_resumed_gives_the_bits_of_an_uninterrupted_run(settings, tmp_path, seed):
    arguments = [*settings, "steps=24", "checkpoint.period=4", "evaluators=[]"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    subprocess.run(
        command(*arguments, "--output", str(whole)), check=True, env=ENVIRONMENT, timeout=300
    )
    rng = random.Random(seed)
    kills = 0
    resume: list[str] = []
    while True:
        process = subprocess.Popen(
            command(*arguments, "--output", str(parts), *resume), env=ENVIRONMENT
        )
        resume = ["--resume"]
        if kills == 3:
            assert process.wait(timeout=300) == 0
            break
        wait_for_training(parts, process)
        time.sleep(rng.uniform(0.0, 0.8))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    final = "checkpoints/step_00000024/model.safetensors"
    expected, got = load_file(whole / final), load_file(parts / final)
    assert expected.keys() == got.keys()
    for name in expected:
        assert (expected[name] == got[name]).all(), name


def wait_for_training(output, process) -> None:
    """Until a step is logged by this process, or it has ended."""
    file = output / "metrics.jsonl"
    before = file.stat().st_mtime_ns if file.exists() else 0
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if file.exists() and file.stat().st_size and file.stat().st_mtime_ns != before:
            return
        time.sleep(0.02)
