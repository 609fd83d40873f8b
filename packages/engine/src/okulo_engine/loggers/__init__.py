"""Where the numbers of a run go: the console, a file of JSON lines, TensorBoard."""

from okulo_engine.loggers.base import LoggerBase
from okulo_engine.loggers.console import ConsoleConfig, ConsoleLogger
from okulo_engine.loggers.jsonl import JsonLinesConfig, JsonLinesLogger
from okulo_engine.loggers.tensorboard import TensorBoardConfig, TensorBoardLogger

__all__ = [
    "ConsoleConfig",
    "ConsoleLogger",
    "JsonLinesConfig",
    "JsonLinesLogger",
    "LoggerBase",
    "TensorBoardConfig",
    "TensorBoardLogger",
]
