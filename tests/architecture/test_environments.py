"""hatch.toml gives each package an environment with only what it may import."""

import tomllib

import pytest
from house import MAY_IMPORT, PLUGINS, ROOT, declared, folder_of

ENVIRONMENTS = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]
ALONE = [plugin for plugin in PLUGINS if plugin != "recipes"]  # recipes need the whole house


def closure(name: str) -> set[str]:
    """A package and all it may import, directly or not."""
    if name in MAY_IMPORT:
        below = MAY_IMPORT[name]
    else:
        below = {
            item.removeprefix("okulo-") for item in declared(name) if item.startswith("okulo-")
        }
    return {name}.union(*(closure(item) for item in below))


@pytest.mark.parametrize("name", [*MAY_IMPORT, *ALONE])
def test_environment_holds_only_what_the_table_allows(name):
    members = set(ENVIRONMENTS[name]["workspace"]["members"])
    assert members == {str(folder_of(item).relative_to(ROOT)) for item in closure(name)}
    assert ENVIRONMENTS[name]["template"] == "test"


@pytest.mark.parametrize("name", [*MAY_IMPORT, *ALONE])
def test_environment_runs_the_own_suite(name):
    tests = folder_of(name).relative_to(ROOT) / "tests"
    assert ENVIRONMENTS[name]["scripts"]["run"] == ["kernels", f"pytest {tests} {{args}}"]
