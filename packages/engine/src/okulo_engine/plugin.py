"""What okulo-engine offers to a catalogue; importing this imports no torch."""

from okulo_core.hookspecs import Command, Component, hookimpl

__all__ = ["okulo_commands", "okulo_components"]


def _component(kind: str, name: str, target: str, summary: str) -> Component:
    return Component(kind=kind, name=name, config=f"okulo_engine.{target}", summary=summary)


def _command(name: str, summary: str) -> Command:
    return Command(name=name, module=f"okulo_engine.cli.{name}", summary=summary)


@hookimpl
def okulo_components() -> list[Component]:
    return [
        _component("optimizer", "sgd", "optim.optimizers:SGDConfig", "gradient descent, momentum"),
        _component("optimizer", "adamw", "optim.optimizers:AdamWConfig", "decoupled weight decay"),
        _component("schedule", "multistep", "optim.schedules:MultiStepConfig", "falls in steps"),
        _component("schedule", "cosine", "optim.schedules:CosineConfig", "falls as a half cosine"),
        _component("gradient_clipping", "norm", "hooks.clip:ClipGradientNormConfig", "by the norm"),
        _component(
            "gradient_clipping", "value", "hooks.clip:ClipGradientValueConfig", "element by element"
        ),
        _component("logger", "console", "loggers.console:ConsoleConfig", "progress bar or lines"),
        _component("logger", "jsonl", "loggers.jsonl:JsonLinesConfig", "a JSON object per line"),
        _component("logger", "tensorboard", "loggers.tensorboard:TensorBoardConfig", "event files"),
        _component(
            "sampler", "training", "loading.samplers:TrainingSamplerConfig", "endless, shuffled"
        ),
    ]


@hookimpl
def okulo_commands() -> list[Command]:
    return [
        _command("train", "train a model"),
        _command("eval", "evaluate a model on its test data"),
        _command("predict", "run a model on images"),
        _command("config", "show, check or compare run configurations"),
        _command("plugins", "list the plugins and their state"),
        _command("components", "list what a configuration can name"),
        _command("doctor", "report versions, devices, operators and plugins"),
    ]
