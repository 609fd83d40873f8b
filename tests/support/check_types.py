"""Type-check every distribution's sources in one mypy run."""

import subprocess
import sys

from house import MAY_IMPORT, PLUGINS, ROOT

if __name__ == "__main__":
    packages = [f"--package=okulo_{name}" for name in [*MAY_IMPORT, *PLUGINS]]
    raise SystemExit(
        subprocess.call([sys.executable, "-m", "mypy", *packages, *sys.argv[1:]], cwd=ROOT)
    )
