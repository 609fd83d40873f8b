"""Every benchmark of this folder, one after the other: ``hatch run bench:run ops/all.py``."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__)
NOT_A_BENCHMARK = {HERE.stem, "compare"}


def main() -> int:
    scripts = [
        path for path in sorted(HERE.parent.glob("*.py")) if path.stem not in NOT_A_BENCHMARK
    ]
    failed = [path.name for path in scripts if subprocess.run([sys.executable, path]).returncode]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
