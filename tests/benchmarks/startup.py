"""Time that commands and imports take before they do anything, beside ``import torch``.

    python tests/benchmarks/startup.py [--repeats N]

Every case starts an interpreter; the fastest of several starts is taken, since files are in the
system's cache then and other programs only ever add time. Starting up waits for nothing, so on an
idle machine wall and processor time are the same; on a busy one the latter tells more. Exits with 1
if ``okulo --help`` takes 0.3 s of processor time or more. Needs a Unix system.
"""

import argparse
import resource
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


def start(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one interpreter with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="starts per case (default 7)")
    repeats = parser.parse_args().repeats
    fastest = {}
    for name, arguments in CASES.items():
        walls, processors = zip(*(start(arguments) for _ in range(repeats)), strict=True)
        fastest[name] = min(walls), min(processors)
    torch = fastest["import torch"][1]
    rows = [
        (name, f"{wall:.3f}", f"{processor:.3f}", f"{processor / torch:.3f}")
        for name, (wall, processor) in fastest.items()
    ]
    print_table(("start of", "wall s", "processor s", "of import torch"), rows)
    slow = fastest["okulo --help"][1] >= ALLOWED
    if slow:
        print(f"okulo --help takes {ALLOWED} s or more", file=sys.stderr)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
