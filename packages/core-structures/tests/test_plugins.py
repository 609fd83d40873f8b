"""Finding plugins: one by one, so that a broken one harms no other; every state explained."""

import subprocess
import sys
import types
import warnings
from importlib.metadata import EntryPoints, distributions

import pytest

from okulo_core import plugins as plugins_module
from okulo_core.errors import PluginError, PluginWarning
from okulo_core.hookspecs import Command, Component, hookimpl
from okulo_core.plugins import Plugins

GOOD = """
from okulo_core.hookspecs import Command, Component, hookimpl

@hookimpl
def okulo_components():
    return [Component(kind="loss", name="{name}", config="{module}:Config")]

@hookimpl
def okulo_commands():
    return [Command(name="{name}", module="{module}_command")]

@hookimpl
def okulo_resolve_path(path):
    return path.replace("{name}://", "/data/") if path.startswith("{name}://") else None
"""
LISTING = "from okulo_core.hookspecs import *\n@hookimpl\ndef okulo_components():\n    return {}\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with a plugin into an environment that holds nothing else."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("OKULO_PLUGINS", raising=False)

    def found(group):
        every = [e for d in distributions(path=[str(tmp_path)]) for e in d.entry_points]
        return EntryPoints(every).select(group=group)

    monkeypatch.setattr(plugins_module, "entry_points", found)

    def install(distribution, code=None, *, entry=None):
        module = distribution.replace("-", "_") + "_plugin"
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[okulo]\n{entry or distribution} = {module}\n")
        name = distribution.rpartition("-")[2]
        code = GOOD.format(name=name, module=module) if code is None else code
        (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def states(plugins):
    return {state.distribution: (state.status, state.error) for state in plugins.states}


def test_components_commands_and_paths_of_all_plugins(install):
    install("acme-one")
    install("acme-two")
    plugins = Plugins.installed()
    assert states(plugins) == {"acme-one": ("loaded", ""), "acme-two": ("loaded", "")}
    assert [(s.version, s.module) for s in plugins.states] == [
        ("1.2", "acme_one_plugin"),
        ("1.2", "acme_two_plugin"),
    ]
    assert [(owner, c.name) for owner, c in plugins.catalog().components("loss")] == [
        ("acme-one", "one"),
        ("acme-two", "two"),
    ]
    assert [(owner, c.name) for owner, c in plugins.commands()] == [
        ("acme-one", "one"),
        ("acme-two", "two"),
    ]
    assert plugins.resolve_path("two://x") == "/data/x"
    assert plugins.resolve_path("three://x") == "three://x"


BROKEN = {
    "raise RuntimeError('at import')": "RuntimeError: at import",
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "import sys; sys.exit(3)": "SystemExit: 3",
    "a = ": "SyntaxError: invalid syntax",
    "": "no hook implementation; decorate okulo_components with @hookimpl",
    LISTING.replace("components", "component"): (
        "unknown hook 'okulo_component'; did you mean 'okulo_components'"
    ),
    LISTING.replace("()", "(extra)"): "PluginValidationError",
    LISTING.format("3"): "okulo_components() must return a list of Component, got 3",
    LISTING.format("None"): "okulo_components() must return a list of Component, got None",
    LISTING.format(
        "['focal']"
    ): "okulo_components() must return a list of Component, got ['focal']",
    LISTING.format("[1 / 0]"): "ZeroDivisionError: division by zero",
    LISTING.format("[Component(kind='Loss', name='a', config='a:B')]"): "ValueError: 'kind' must",
    LISTING.format("2 * [Component(kind='loss', name='a', config='a:B')]"): (
        "acme-bad lists loss 'a' twice"
    ),
}


@pytest.mark.parametrize("code", BROKEN, ids=BROKEN.values())
def test_a_broken_plugin_is_one_warning_and_harms_no_other(install, code):
    install("acme-bad", code)
    install("acme-good")
    with pytest.warns(PluginWarning) as caught:
        plugins = Plugins.installed()
    (warning,) = caught
    assert str(warning.message).startswith("plugin acme-bad 1.2 is broken: ")
    assert BROKEN[code] in str(warning.message)
    status, error = states(plugins)["acme-bad"]
    assert status == "broken"
    assert BROKEN[code] in error
    assert "Traceback" in plugins.states[0].traceback
    assert [owner for owner, _ in plugins.catalog().components()] == ["acme-good"]
    assert [owner for owner, _ in plugins.commands()] == ["acme-good"]


def test_strict_mode_raises_with_the_cause(install):
    install("acme-bad", "raise RuntimeError('at import')")
    with pytest.raises(PluginError, match=r"plugin acme-bad 1\.2 is broken: .*at import") as caught:
        Plugins.installed(strict=True)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_entry_point_that_is_not_named_as_its_distribution_is_broken(install):
    install("acme-one", entry="one")
    with pytest.warns(
        PluginWarning, match="acme-one 1.2 is broken: its entry point is named 'one'"
    ):
        plugins = Plugins.installed()
    assert 'write acme-one = "acme_one_plugin" under' in states(plugins)["acme-one"][1]


def test_spelling_of_distribution_names_is_that_of_package_indexes(install):
    install("acme-one", entry="Acme_One")
    assert states(Plugins.installed(allow=["ACME.one"])) == {"acme-one": ("loaded", "")}


class TestNarrowing:
    @pytest.fixture(autouse=True)
    def two(self, install):
        install("acme-one")
        install("acme-bad", "raise RuntimeError")

    def test_by_argument(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is blocked is not imported, so it cannot warn
            plugins = Plugins.installed(allow=["acme-one"])
        assert states(plugins) == {
            "acme-bad": ("blocked", "not in the allowed plugins"),
            "acme-one": ("loaded", ""),
        }

    def test_by_environment(self, monkeypatch):
        monkeypatch.setenv("OKULO_PLUGINS", " acme-one ,")
        assert states(Plugins.installed())["acme-bad"] == ("blocked", "not in OKULO_PLUGINS")

    def test_the_argument_wins_over_the_environment(self, monkeypatch):
        monkeypatch.setenv("OKULO_PLUGINS", "acme-bad")
        assert states(Plugins.installed(allow=["acme-one"]))["acme-one"] == ("loaded", "")

    def test_empty_blocks_all(self, monkeypatch):
        monkeypatch.setenv("OKULO_PLUGINS", "")
        assert {status for status, _ in states(Plugins.installed()).values()} == {"blocked"}
        assert Plugins.installed(allow=[]).catalog().components() == []

    def test_a_name_that_is_not_installed_is_reported(self, monkeypatch):
        monkeypatch.setenv("OKULO_PLUGINS", "acme-one,acme-tow")
        with pytest.warns(PluginWarning, match="OKULO_PLUGINS names it, but it is not installed"):
            assert states(Plugins.installed())["acme-tow"][0] == "broken"


def test_no_plugin_at_all_is_no_error(install):
    plugins = Plugins.installed()
    assert plugins.states == ()
    assert plugins.resolve_path("a") == "a"
    assert plugins.commands() == []


def test_a_plugin_can_be_registered_by_hand():
    class Plugin:
        @hookimpl
        def okulo_components(self):
            return [Component(kind="loss", name="a", config="a:B")]

        @hookimpl
        def okulo_commands(self):
            return [Command(name="say", module="acme_say")]

        @hookimpl
        def okulo_run_hooks(self, config):
            return [config]

    plugins = Plugins()
    plugins.register("acme", Plugin())
    assert plugins.catalog().kinds() == ["loss"]
    assert plugins.commands()[0][1].name == "say"
    assert plugins.hook.okulo_run_hooks(config=7) == [[7]]
    with pytest.raises(PluginError, match="plugin acme is registered already"):
        plugins.register("acme", Plugin())
    assert plugins.commands()
    with pytest.raises(PluginError, match="plugin bad is broken: no hook implementation"):
        plugins.register("bad", types.ModuleType("bad"))


def test_an_optional_hook_of_a_newer_core_is_ignored():
    class Plugin:
        @hookimpl(optionalhook=True)
        def okulo_of_the_future(self):
            return 1

    plugins = Plugins()
    plugins.register("acme", Plugin())
    assert plugins.states[0].status == "loaded"


def test_listing_imports_no_torch():
    code = (
        "import sys\n"
        "import okulo_core.config, okulo_core.testing.fixtures\n"
        "from okulo_core.plugins import Plugins\n"
        "plugins = Plugins.installed()\n"
        "plugins.catalog().components(), plugins.commands()\n"
        "print([m for m in ('torch', 'numpy', 'cv2') if m in sys.modules])\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
