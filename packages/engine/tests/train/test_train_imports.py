"""Any module may be the first that a catalogue imports."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import torch, torch.utils.data, safetensors.torch, rich.progress, okulo_core.data, okulo_core.io
import okulo_engine

names = [m.name for m in pkgutil.walk_packages(okulo_engine.__path__, "okulo_engine.")]
assert "okulo_engine.hooks.checkpoint" in names
for name in names:
    for loaded in [m for m in sys.modules if m.partition(".")[0] == "okulo_engine"]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""


def test_each_module_can_be_imported_first():
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
