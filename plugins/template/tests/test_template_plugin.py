"""The installed distribution is found, and listing it stays light."""

import subprocess
import sys

from okulo_core.plugins import Plugins


def test_is_found_where_it_is_installed():
    plugins = Plugins.installed(allow=["okulo-template"], strict=True)
    names = [item.name for owner, item in plugins.catalog().components("loss")]
    assert names == ["charbonnier"]


def test_listing_imports_no_torch():
    code = "import sys, okulo_template.plugin as p; p.okulo_components(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "okulo_template.plugin" in done.stdout.split()
    assert "torch" not in done.stdout.split()
