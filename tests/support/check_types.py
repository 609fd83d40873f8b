"""Type-check every distribution's sources in one mypy run."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    folders = sorted(ROOT.glob("packages/*/src")) + sorted(ROOT.glob("plugins/*/src"))
    packages = [str(child) for folder in folders for child in folder.iterdir() if child.is_dir()]
    raise SystemExit(
        subprocess.call([sys.executable, "-m", "mypy", *packages, *sys.argv[1:]], cwd=ROOT)
    )
