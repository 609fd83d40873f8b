"""The command line ``okulo``; its commands come from plugins, these from this package."""

from okulo_core.hookspecs import Command

__all__ = ["COMMANDS"]

COMMANDS = (
    Command(name="train", module="okulo_engine.cli.train", summary="train a model"),
    Command(name="eval", module="okulo_engine.cli.evaluate", summary="evaluate stored weights"),
    Command(
        name="predict",
        module="okulo_engine.cli.predict",
        summary="detect in images: pictures, and results as JSON",
    ),
    Command(
        name="config",
        module="okulo_engine.cli.config",
        summary="show, check or compare configurations",
    ),
    Command(
        name="plugins", module="okulo_engine.cli.plugins", summary="list plugins and their state"
    ),
    Command(
        name="components",
        module="okulo_engine.cli.components",
        summary="list what a configuration can name",
    ),
    Command(
        name="doctor",
        module="okulo_engine.cli.doctor",
        summary="report versions, devices, operators and broken plugins",
    ),
)
