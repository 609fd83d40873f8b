"""A run that is killed without warning, again and again, ends as one that never was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from okulo_engine.checkpoint import read_checkpoint

STEPS = 80

# Imports once and forks each run: most of a short run's time would go into importing.
DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
from attrs import evolve
from okulo_engine.checkpoint import list_checkpoints
from okulo_engine.hooks import CheckpointConfig
from okulo_engine.train import train
from train_toy import toy_catalog, toy_run

folder, steps, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
run = toy_run(steps=steps, checkpoint=CheckpointConfig(period=2, keep=2), eval_period=25)
run = evolve(run, train_data=evolve(run.train_data, workers=1))

def start(output):
    child = os.fork()
    if child == 0:
        train(run, output_dir=output, catalog=toy_catalog(), resume=True)
        os._exit(0)
    return child

def goes_on(child, condition):
    "Wait for the condition; False if the run ended before."
    while not condition():
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
    return True

assert os.waitpid(start(folder / "whole"), 0)[1] == 0
output, chance = folder / "killed", random.Random(seed)
saved = output / "checkpoints"
for attempt in range(8):
    child = start(output)
    before = list_checkpoints(saved)[-1:]
    if not goes_on(child, lambda: list_checkpoints(saved)[-1:] != before):
        break
    time.sleep(chance.uniform(0, 0.05))
    if attempt % 2 and not goes_on(child, lambda: any(saved.glob(".step_*.unfinished"))):
        break
    os.kill(child, signal.SIGKILL)
    ended, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        break
    print("killed", list_checkpoints(saved)[-1].name, *(p.name for p in saved.glob(".step_*")))
assert os.waitpid(start(output), 0)[1] == 0
"""


def final_weights(output):
    return read_checkpoint(output / "checkpoints" / f"step_{STEPS:08d}").weights


@pytest.mark.slow
def test_killed_at_random_points_and_while_writing_it_ends_in_the_same_bits(tmp_path):
    seed = int.from_bytes(os.urandom(4))
    script = DRIVER.format(here=str(Path(__file__).parent))
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(STEPS), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    kills = ended.stdout.splitlines()
    assert len(kills) >= 3, f"the machine was too quick for this test: {kills}"
    assert any("unfinished" in kill for kill in kills), f"none was killed while writing: {kills}"
    whole, killed = final_weights(tmp_path / "whole"), final_weights(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    for name in whole:
        assert torch.equal(whole[name], killed[name]), f"{name}, seed {seed}, {kills}"
    metrics = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "killed")]
    assert metrics[0].count("\n") == metrics[1].count("\n")
