"""Hold the demo to its promise: its files, and box AP50 of at least 0.80 on held-out images."""

import json
import sys
from pathlib import Path

LEAST = 80.0


def main(output: Path) -> None:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    score = [line["bbox/AP50"] for line in lines if "bbox/AP50" in line][-1]
    pictures = len(list((output / "pictures").glob("*.png")))
    size = (output / "report.html").stat().st_size
    print(f"box AP50 {score:.1f}, {pictures} pictures, a report of {size / 1e6:.1f} MB")
    if score < LEAST or not pictures:
        raise SystemExit(f"the demo promises box AP50 >= {LEAST} and pictures")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
