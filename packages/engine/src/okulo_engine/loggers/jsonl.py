"""One JSON object per line: easy to append to, to read half-written, and to plot."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from attrs import frozen

from okulo_core.io import atomic_write
from okulo_engine.loggers.base import LoggerBase
from okulo_engine.state import TrainState

__all__ = ["JsonLinesConfig", "JsonLinesLogger"]


class JsonLinesLogger(LoggerBase):
    """Append ``{"step": 20, "total_loss": 1.5, ...}`` to a file; not a number is null.

    When a run resumes, lines beyond its step are dropped, and so is a last line that was cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def before_train(self, state: TrainState) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            kept = _lines_up_to(self._path, state.step)
            with atomic_write(self._path, "w") as file:
                file.writelines(kept)
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        assert self._file is not None, "before_train opens the file"
        values = {name: v if math.isfinite(v) else None for name, v in scalars.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def after_train(self, state: TrainState) -> None:
        if self._file is not None:
            self._file.close()


@frozen(kw_only=True)
class JsonLinesConfig:
    """Settings of :class:`JsonLinesLogger`."""

    file: str = "metrics.jsonl"  # in the output folder

    def build(self, output_dir: Path) -> JsonLinesLogger:
        return JsonLinesLogger(output_dir / self.file)


def _lines_up_to(path: Path, step: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except json.JSONDecodeError:
            continue
    return kept
