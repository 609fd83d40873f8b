"""Install each wheel alone into an empty environment and import it.

Siblings come from the folder of built wheels, everything else from the index. uv hard-links what it
has fetched once, so ten environments cost the time of one.
"""

import subprocess
import sys
import tempfile
from pathlib import Path


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def check(wheel: Path, folder: Path) -> None:
    name = wheel.name.split("-")[0]
    python = folder / name / "bin" / "python"
    run("uv", "venv", "-q", folder / name)
    run("uv", "pip", "install", "-q", "--python", python, "--find-links", wheel.parent, wheel)
    run(python, "-c", f"import {name}; print('{name}', {name}.__version__)")


def main() -> int:
    wheels = sorted(Path(sys.argv[1]).resolve().glob("*.whl"))
    if not wheels:
        raise SystemExit(f"no wheel in {sys.argv[1]}; run `hatch build --all` first")
    with tempfile.TemporaryDirectory() as folder:
        for wheel in wheels:
            check(wheel, Path(folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
