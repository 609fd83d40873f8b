"""The command line as a whole: finding commands, exit codes, messages, cost of starting."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from okulo_core.errors import DataError, PluginError, PluginWarning
from okulo_core.hookspecs import Command, Component, hookimpl
from okulo_core.plugins import Plugins
from okulo_engine import plugin
from okulo_engine.cli.main import main


class Plugin:
    """A plugin with one command, ``wave``, that does what a test says."""

    def __init__(self, module="wave_module", components=()):
        self._module = module
        self._components = list(components)

    @hookimpl
    def okulo_commands(self):
        return [Command(name="wave", module=self._module, summary="wave at someone")]

    @hookimpl
    def okulo_components(self):
        return self._components


class Broken:
    @hookimpl
    def okulo_components(self):
        raise ZeroDivisionError("what a pity")


COMMANDS = plugin.okulo_commands()


def add_broken(plugins):
    """What loading does to a plugin that fails, without installing one."""
    with pytest.warns(PluginWarning):
        plugins._add("broken", "0.1", "broken.plugin", Broken, strict=False)


@pytest.fixture
def wave(monkeypatch):
    """The module of the command; set its ``run``."""
    module = SimpleNamespace(run=lambda args: 0)
    module.add_arguments = lambda parser: (
        parser.add_argument("names", nargs="*"),
        parser.add_argument("--loud", action="store_true"),
    )
    monkeypatch.setitem(sys.modules, "wave_module", module)
    return module


@pytest.fixture
def plugins(wave):
    found = Plugins()
    found.register("okulo-engine", plugin)
    found.register("acme", Plugin(), version="1.2")
    return found


def fail(error):
    def run(args):
        raise error

    return run


def test_a_plugins_command_runs_with_its_arguments_and_the_plugins(wave, plugins):
    wave.run = lambda args: (args.names, args.loud, args.plugins) == (["a", "b"], True, plugins)
    assert main(["wave", "a", "--loud", "b"], plugins=plugins) == 1  # bool True: all as expected


def test_what_the_command_returns_is_the_exit_code(wave, plugins):
    wave.run = lambda args: 7
    assert main(["wave"], plugins=plugins) == 7


def test_a_mistake_gives_its_message_only(wave, plugins, capsys):
    wave.run = fail(DataError("cannot decode a.png"))
    assert main(["wave"], plugins=plugins) == 1
    assert capsys.readouterr().err == "okulo: error: cannot decode a.png\n"


def test_debug_shows_where_it_comes_from(wave, plugins, capsys):
    wave.run = fail(DataError("cannot decode a.png"))
    assert main(["wave", "--debug"], plugins=plugins) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_file_gives_a_message(wave, plugins, capsys):
    wave.run = lambda args: Path("/nowhere/at/all").read_text()
    assert main(["wave"], plugins=plugins) == 1
    assert "/nowhere/at/all" in capsys.readouterr().err


def test_a_programming_error_is_not_hidden(wave, plugins):
    wave.run = fail(KeyError("oops"))
    with pytest.raises(KeyError):
        main(["wave"], plugins=plugins)


def test_an_interrupt_is_130(wave, plugins, capsys):
    wave.run = fail(KeyboardInterrupt("; go on with: okulo wave"))
    assert main(["wave"], plugins=plugins) == 130
    assert capsys.readouterr().err == "okulo: interrupted; go on with: okulo wave\n"


def test_help_lists_the_commands_of_every_plugin(plugins, capsys):
    assert main(["--help"], plugins=plugins) == 0
    out = capsys.readouterr().out
    assert "wave at someone" in out
    for command in COMMANDS:
        assert command.summary in out


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_each_command_explains_itself(command, plugins, capsys):
    assert main([command, "--help"], plugins=plugins) == 0
    assert f"usage: okulo {command}" in capsys.readouterr().out


def test_the_version(plugins, capsys):
    assert main(["--version"], plugins=plugins) == 0
    assert capsys.readouterr().out.startswith("okulo-engine ")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: COMMAND"),
        (["wav"], "no command 'wav'; did you mean 'wave'?"),
        (["wave", "--lou"], "unrecognized arguments: --lou"),
        (["eval", "--weights", "w"], "required: config"),
        (["predict", "a.yaml", "b.png"], "required: --weights, --output"),
    ],
)
def test_usage_errors_are_2(argv, message, plugins, capsys):
    assert main(argv, plugins=plugins) == 2
    assert message in capsys.readouterr().err


def test_a_command_claimed_twice_names_both(wave, plugins, capsys):
    plugins.register("zeta", Plugin())
    assert main(["wave"], plugins=plugins) == 1
    assert "provided by both 'acme' and 'zeta'" in capsys.readouterr().err


def test_a_command_that_cannot_be_imported_names_its_distribution(capsys):
    plugins = Plugins()
    plugins.register("acme", Plugin(module="no_such_module"))
    assert main(["wave"], plugins=plugins) == 1
    message = "command 'wave' of acme is broken: No module named 'no_such_module'"
    assert message in capsys.readouterr().err


def test_a_broken_plugin_is_one_warning(monkeypatch, capsys, wave):
    def installed(**kwargs):
        plugins = Plugins()
        plugins.register("acme", Plugin())
        plugins._add("broken", "0.1", "broken.plugin", Broken, strict=kwargs["strict"])
        return plugins

    monkeypatch.setattr(Plugins, "installed", installed)
    assert main(["wave"]) == 0
    expected = "okulo: warning: plugin broken 0.1 is broken: ZeroDivisionError: what a pity\n"
    assert capsys.readouterr().err == expected
    assert main(["--strict", "wave"]) == 1
    assert "okulo: error: plugin broken 0.1 is broken" in capsys.readouterr().err


def test_no_plugins_leaves_only_the_engine(monkeypatch, wave):
    asked = []

    def installed(**kwargs):
        asked.append(kwargs)
        raise PluginError("enough")

    monkeypatch.setattr(Plugins, "installed", installed)
    assert main(["wave", "--no-plugins"]) == 1
    assert asked == [{"allow": ["okulo-engine"], "strict": False}]


def test_a_blocked_engine_is_explained(monkeypatch, capsys):
    monkeypatch.setenv("OKULO_PLUGINS", "")
    assert main(["train", "a.yaml"]) == 2
    err = capsys.readouterr().err
    assert "no command 'train'" in err
    assert "okulo-engine is blocked: not in OKULO_PLUGINS" in err


def test_components_as_a_table_and_as_json(plugins, capsys):
    loss = Component(kind="loss", name="focal", config="acme.losses:Focal", summary="focal loss")
    plugins.register("losses", Plugin(components=[loss]))
    assert main(["components", "--kind", "loss"], plugins=plugins) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["kind", "name", "distribution", "summary"]
    assert row.split() == ["loss", "focal", "losses", "focal", "loss"]
    assert main(["components", "--kind", "loss", "--json"], plugins=plugins) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "distribution": "losses",
            "kind": "loss",
            "name": "focal",
            "config": "acme.losses:Focal",
            "summary": "focal loss",
        }
    ]


def test_an_unknown_kind_names_the_nearest(plugins, capsys):
    assert main(["components", "--kind", "schedul"], plugins=plugins) == 1
    message = "no component of kind 'schedul'; did you mean 'schedule'?"
    assert message in capsys.readouterr().err


def test_plugins_as_a_table_and_as_json(plugins, capsys):
    add_broken(plugins)
    assert main(["plugins"], plugins=plugins) == 0
    rows = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert rows[-1] == ["broken", "0.1", "broken", "ZeroDivisionError: what a pity"]
    assert main(["plugins", "--json"], plugins=plugins) == 0
    states = json.loads(capsys.readouterr().out)
    assert [state["status"] for state in states] == ["loaded", "loaded", "broken"]


def test_the_doctor_reports_versions_devices_operators_and_plugins(plugins, capsys):
    assert main(["doctor", "--json"], plugins=plugins) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"python", "torch", "torchvision", "numpy", "okulo-engine"} <= set(report["versions"])
    assert report["devices"][0]["device"] == "cpu"
    assert report["operators"]
    assert [state["distribution"] for state in report["plugins"]] == ["okulo-engine", "acme"]


def test_the_doctor_shows_the_traceback_of_a_broken_plugin(plugins, capsys):
    add_broken(plugins)
    assert main(["doctor"], plugins=plugins) == 1
    out = capsys.readouterr().out
    assert "Traceback" in out
    assert "ZeroDivisionError: what a pity" in out


HEAVY = {"torch", "torchvision", "cv2", "numpy", "rich", "safetensors"}


@pytest.mark.parametrize(
    "argv",
    [["--help"], *([command.name, "--help"] for command in COMMANDS), ["plugins"], ["components"]],
    ids=" ".join,
)
def test_help_and_listings_import_nothing_heavy(argv):
    code = f"""
import sys
from okulo_engine.cli.main import main
assert main({argv!r}) == 0
heavy = {HEAVY!r} & set(sys.modules)
assert not heavy, f"imported {{sorted(heavy)}}"
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_closed_pipe_ends_quietly():
    command = [sys.executable, "-m", "okulo_engine.cli.main", "--no-plugins", "components"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1
