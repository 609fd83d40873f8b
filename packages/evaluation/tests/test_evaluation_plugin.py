"""What the distribution offers: found through its entry point, built from plain settings."""

import subprocess
import sys

from okulo_core.catalog import Catalog
from okulo_core.data import DatasetInfo, InMemoryDataset
from okulo_core.testing import check_component
from okulo_evaluation.coco_evaluator import CocoEvaluator, CocoEvaluatorConfig
from okulo_evaluation.plugin import okulo_components
from okulo_evaluation.visualizer import InstanceVisualizer, InstanceVisualizerConfig

INFO = DatasetInfo(name="none", thing_classes=("a",))
CATALOG = Catalog(("okulo-evaluation", component) for component in okulo_components())


def test_the_coco_evaluator_is_a_component():
    config = CocoEvaluatorConfig(tasks=("bbox",), max_dets_per_image=50, kpt_oks_sigmas=(0.1,))
    for checked in (config, CocoEvaluatorConfig):
        built = check_component(
            checked,
            kind="evaluator",
            catalog=CATALOG,
            build_args=(InMemoryDataset(INFO, []), None),
        )
        assert isinstance(built, CocoEvaluator)


def test_the_instance_visualizer_is_a_component():
    config = InstanceVisualizerConfig(scale=2.0, mask_alpha=0.0)
    for checked in (config, InstanceVisualizerConfig):
        built = check_component(checked, kind="visualizer", catalog=CATALOG, build_args=(INFO,))
        assert isinstance(built, InstanceVisualizer)


def test_components_come_through_the_entry_point():
    found = {(dist, c.kind, c.name) for dist, c in Catalog.installed().components()}
    assert ("okulo-evaluation", "evaluator", "coco") in found
    assert ("okulo-evaluation", "visualizer", "instances") in found
    assert all(component.summary for component in okulo_components())


def test_listing_imports_no_torch():
    code = "import sys, okulo_evaluation.plugin as p; p.okulo_components(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" not in run.stdout.split()
