"""TensorBoard event files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from okulo_core.errors import OkuloError
from okulo_engine.loggers.base import LoggerBase
from okulo_engine.state import TrainState

__all__ = ["TensorBoardConfig", "TensorBoardLogger"]


class TensorBoardLogger(LoggerBase):
    """Write scalars for ``tensorboard --logdir``.

    Args:
        folder: Of the event files.

    Raises:
        OkuloError: If the package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise OkuloError(
                "logging to TensorBoard needs the package tensorboard; install "
                "okulo-engine[tensorboard], or leave the logger tensorboard out of the run"
            ) from error
        self._open = SummaryWriter
        self._folder = folder
        self._writer: Any = None

    def before_train(self, state: TrainState) -> None:
        # Hides what a run wrote beyond the step from which it now resumes.
        self._writer = self._open(str(self._folder), purge_step=state.step + 1)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def after_train(self, state: TrainState) -> None:
        if self._writer is not None:
            self._writer.close()


@frozen(kw_only=True)
class TensorBoardConfig:
    """Settings of :class:`TensorBoardLogger`."""

    folder: str = "tensorboard"  # in the output folder

    def build(self, output_dir: Path) -> TensorBoardLogger:
        return TensorBoardLogger(output_dir / self.folder)
