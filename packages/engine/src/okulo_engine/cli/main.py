"""The entry point ``okulo``: find the commands, run one, turn what goes wrong into a message."""

import argparse
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import ModuleType

from okulo_core.errors import OkuloError, PluginError, did_you_mean
from okulo_core.hookspecs import Command
from okulo_core.plugins import Plugins
from okulo_engine.__about__ import __version__

__all__ = ["main"]

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None, *, plugins: Plugins | None = None) -> int:
    """Run one command.

    The command's module receives what it asked for in ``add_arguments``, and ``args.plugins``:
    the :class:`~okulo_core.plugins.Plugins` of this process.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        plugins: None loads the installed ones.

    Returns:
        0 done, 1 failed with a message, 2 not understood, 130 interrupted. An error that is no
        mistake of the user passes through.
    """
    options, rest = _global_options().parse_known_args(sys.argv[1:] if argv is None else argv)
    try:
        plugins = plugins or _installed(options)
        module, args = _parse(plugins, rest)
        args.plugins = plugins
        return int(module.run(args))
    except SystemExit as leave:  # argparse has printed help, version or usage
        return leave.code if isinstance(leave.code, int) else USAGE
    except KeyboardInterrupt as stop:
        print(f"okulo: interrupted{stop}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `okulo components | head`
        # The interpreter flushes standard output once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (OkuloError, OSError) as error:
        if options.debug:
            traceback.print_exception(error)
        print(f"okulo: error: {error}", file=sys.stderr)
        return FAILED


def _global_options() -> argparse.ArgumentParser:
    """Options that stand anywhere on the line: they decide which commands there are."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    group = parser.add_argument_group("everywhere")
    group.add_argument("--no-plugins", action="store_true", help="load no plugin but okulo-engine")
    group.add_argument("--strict", action="store_true", help="a broken plugin is an error")
    group.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def _installed(options: argparse.Namespace) -> Plugins:
    allow = ["okulo-engine"] if options.no_plugins else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plugins = Plugins.installed(allow=allow, strict=options.strict)
    for warning in caught:
        print(f"okulo: warning: {warning.message}", file=sys.stderr)
    return plugins


def _parse(plugins: Plugins, argv: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    """Import the module of the command that ``argv`` begins with, and no other."""
    commands = plugins.commands()
    if not argv or argv[0].startswith("-"):
        _overview(commands).parse_args(argv)
    owner, command = _chosen(plugins, argv[0])
    try:
        module = importlib.import_module(command.module)
    except ImportError as error:
        raise PluginError(f"command '{command.name}' of {owner} is broken: {error}") from error
    parser = argparse.ArgumentParser(
        prog=f"okulo {command.name}",
        description=command.summary,
        parents=[_global_options()],
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    # Lists of positionals may be cut by options ("train a.yaml --resume steps=3"); argparse can
    # follow only where a command has no sub-commands.
    nested = any(action.nargs == argparse.PARSER for action in parser._actions)
    parse = parser.parse_args if nested else parser.parse_intermixed_args
    return module, parse(argv[1:])


def _overview(commands: Sequence[tuple[str, Command]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="okulo",
        description="Train, evaluate and use detectors.",
        epilog="'okulo COMMAND --help' explains a command.",
        parents=[_global_options()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"okulo-engine {__version__}")
    listing = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in {command.name: command.summary for _, command in commands}.items():
        listing.add_parser(name, help=summary)
    return parser


def _chosen(plugins: Plugins, name: str) -> tuple[str, Command]:
    matches = [item for item in plugins.commands() if item[1].name == name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        owners = " and ".join(f"'{owner}'" for owner, _ in matches)
        raise PluginError(
            f"command '{name}' is provided by both {owners}; uninstall or block one of them"
        )
    absent = [state for state in plugins.states if state.status != "loaded"]
    hint = "".join(f"\n  {state.distribution} is {state.status}: {state.error}" for state in absent)
    near = did_you_mean(name, [command.name for _, command in plugins.commands()])
    _overview(plugins.commands()).error(f"no command '{name}'{near}{hint}")


if __name__ == "__main__":
    sys.exit(main())
