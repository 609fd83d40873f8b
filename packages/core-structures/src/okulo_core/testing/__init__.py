"""Help for tests, of Okulo's packages and of plugins alike; importing this imports no torch."""

from okulo_core.testing.catalog import IsolatedCatalog
from okulo_core.testing.components import check_component
from okulo_core.testing.data import shared_path

__all__ = ["IsolatedCatalog", "check_component", "shared_path"]
