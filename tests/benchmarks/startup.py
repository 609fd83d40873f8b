"""Time that commands and imports take before they do anything, beside ``import torch``.

    python tests/benchmarks/startup.py [--repeats N]

Every case starts an interpreter; the fastest of several starts is taken, since files are in the
system's cache then and other programs only ever add time. Exits with 1 if ``okulo --help`` takes
0.3 s or more.
"""

import argparse
import subprocess
import sys
import time

from okulo_engine.cli.output import print_table

ALLOWED = 0.3  # seconds
CLI = ["-m", "okulo_engine.cli.main"]
CASES = {
    "python": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import okulo_core": ["-c", "import okulo_core"],
    "okulo --help": [*CLI, "--help"],
    "okulo train --help": [*CLI, "train", "--help"],
    "okulo components": [*CLI, "components"],
    "okulo plugins": [*CLI, "plugins"],
}


def seconds(arguments: list[str], repeats: int) -> float:
    """Shortest wall time of an interpreter with these arguments."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="starts per case (default 7)")
    repeats = parser.parse_args().repeats
    measured = {name: seconds(arguments, repeats) for name, arguments in CASES.items()}
    torch = measured["import torch"]
    rows = [(name, f"{spent:.3f}", f"{spent / torch:.2f}") for name, spent in measured.items()]
    print_table(("start of", "seconds", "of import torch"), rows)
    slow = measured["okulo --help"] >= ALLOWED
    if slow:
        print(f"okulo --help takes longer than {ALLOWED} s", file=sys.stderr)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
