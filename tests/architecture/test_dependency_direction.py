"""Which of our packages may import which, and that what is imported is declared."""

import sys

import pytest
from house import MAY_IMPORT, PLUGINS, declared, folder_of, imported, sources

# import name -> distribution, where the two differ
DISTRIBUTION = {
    "attr": "attrs",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "tomli_w": "tomli-w",
}
TEST_TOOLS = {"hypothesis", "numpy", "PIL", "psutil", "pytest", "scipy", "shapely", "torchvision"}


def ours(names: set[str]) -> set[str]:
    return {name.removeprefix("okulo_") for name in names if name.startswith("okulo_")}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_imports_point_towards_core(name):
    for path in sources(name) + sources(name, "tests"):
        assert ours(imported(path)) - {name} <= MAY_IMPORT[name], path


@pytest.mark.parametrize("name", [plugin for plugin in PLUGINS if plugin != "recipes"])
def test_plugins_import_no_other_plugin(name):
    for path in sources(name) + sources(name, "tests"):
        assert not ours(imported(path)) & (set(PLUGINS) - {name}), path


@pytest.mark.parametrize("name", [*MAY_IMPORT, *PLUGINS])
def test_every_import_is_declared(name):
    allowed = declared(name) | {f"okulo-{name}"}
    for path in sources(name):
        third_party = imported(path) - set(sys.stdlib_module_names)
        if "testing" in path.parts:
            third_party -= {"pytest"}  # the testing kit is used inside a test run
        needed = {DISTRIBUTION.get(top, top).replace("_", "-").lower() for top in third_party}
        assert needed <= allowed, f"{path}: declare {sorted(needed - allowed)} in pyproject.toml"


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_declared_siblings_are_those_of_the_table(name):
    siblings = {item.removeprefix("okulo-") for item in declared(name) if item.startswith("okulo-")}
    assert siblings <= MAY_IMPORT[name]


@pytest.mark.parametrize("name", [*MAY_IMPORT, *PLUGINS])
def test_own_suite_imports_only_what_its_environment_holds(name):
    held = {f"okulo-{name}", *(declared(name) | transitive(name))}
    paths = sources(name, "tests")
    helpers = {path.stem for path in paths}
    for path in paths:
        third_party = imported(path) - set(sys.stdlib_module_names) - TEST_TOOLS - helpers
        needed = {DISTRIBUTION.get(top, top).replace("_", "-").lower() for top in third_party}
        assert needed <= held, f"{path}: not in the environment: {sorted(needed - held)}"


def transitive(name: str) -> set[str]:
    found: set[str] = set()
    queue = [name]
    while queue:
        for item in declared(queue.pop()):
            if item not in found:
                found.add(item)
                if item.startswith("okulo-"):
                    queue.append(item.removeprefix("okulo-"))
    return found


@pytest.mark.parametrize("name", [*MAY_IMPORT, *PLUGINS])
def test_every_distribution_has_the_same_furniture(name):
    folder = folder_of(name)
    package = folder / "src" / f"okulo_{name}"
    furniture = [folder / item for item in ("pyproject.toml", "README.md", "CHANGELOG.md", "tests")]
    for path in [*furniture, package / "__about__.py", package / "py.typed"]:
        assert path.exists(), f"{path} is missing"
