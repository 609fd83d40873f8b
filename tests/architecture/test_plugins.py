"""Components enter by entry points alone, under the distribution's name, and cost no torch."""

import subprocess
import sys
import tomllib

import pytest
from house import MAY_IMPORT, PLUGINS, folder_of

WITH_PLUGIN = [name for name in [*MAY_IMPORT, *PLUGINS] if name not in {"ops", "core", "reid"}]
LISTING = """
import sys
from okulo_core.catalog import Catalog
components = Catalog.installed(strict=True).components()
assert components, "no component is installed"
heavy = {"torch", "torchvision", "cv2", "numpy"} & set(sys.modules)
assert not heavy, f"listing components imported {sorted(heavy)}"
"""


@pytest.mark.parametrize("name", WITH_PLUGIN)
def test_entry_point_name_is_the_distribution_name(name):
    project = tomllib.loads((folder_of(name) / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["okulo"] == {project["name"]: f"okulo_{name}.plugin"}


def test_listing_components_imports_no_torch():
    subprocess.run([sys.executable, "-c", LISTING], check=True)


@pytest.mark.parametrize("name", [*MAY_IMPORT, *PLUGINS])
def test_importing_a_package_imports_no_torch(name):
    code = f"import sys, okulo_{name}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_component_names_a_config_that_can_be_imported():
    from okulo_core.catalog import Catalog

    catalog = Catalog.installed(strict=True)
    for _, component in catalog.components():
        config = catalog.config_class(component.kind, component.name)
        assert catalog.name_of(component.kind, config) == component.name
        assert component.summary, f"{component.kind} {component.name} has no summary"
