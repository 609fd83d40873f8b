"""The demo's steps: draw and train, predict on the validation images, show both in a report."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from okulo_core.config import load_config
from okulo_core.data import Dataset
from okulo_core.plugins import Plugins
from okulo_core.protocols import Prediction, Sample
from okulo_engine.checkpoint import load_model_weights
from okulo_engine.cli.pictures import read_picture, write_picture
from okulo_engine.loading import build_test_loader
from okulo_engine.run_config import RunConfig
from okulo_engine.train import train
from okulo_evaluation.report import Picture, report_from_run

__all__ = ["showcase"]

PICTURES = 12
THRESHOLD = 0.5  # of the scores that pictures show


def showcase(
    plugins: Plugins, output: Path, *, overrides: Sequence[str] = (), resume: bool = False
) -> Path:
    """Run the recipe ``shapes`` with its data below ``output``; return the report's path."""
    data = output / "data"
    places = [f"{part}.dataset.root={data}" for part in ("train_data", "test_data")]
    config = load_config(
        plugins.resolve_path("recipe://shapes"),
        RunConfig,
        plugins.catalog(),
        overrides=[*places, *overrides],
    )
    train(config, output_dir=output, catalog=plugins.catalog(), resume=resume)
    assert config.test_data is not None, "the recipe has test data"
    dataset = config.test_data.dataset.build()
    loader = build_test_loader(config.test_data, dataset)
    predictions = predict_best(config, loader, output / "checkpoints" / "best")
    gallery = draw(config, dataset, predictions, output / "pictures")
    return report_from_run(output, title="Okulo demo: drawn shapes", gallery=gallery)


def predict_best(
    config: RunConfig, loader: Iterable[list[Sample]], weights: Path
) -> list[Prediction]:
    """What the best checkpoint finds in as many images as there will be pictures."""
    model = config.model.build().eval()
    load_model_weights(model, weights)
    predictions: list[Prediction] = []
    with torch.inference_mode():
        for batch in loader:
            predictions += model(batch)
            if len(predictions) >= PICTURES:
                break
    return predictions[:PICTURES]


def draw(
    config: RunConfig, dataset: Dataset, predictions: Sequence[Prediction], folder: Path
) -> list[Picture]:
    """Prediction beside truth, written as PNG files and returned for the report."""
    visualizer = config.visualizer.build(dataset.info)
    gallery = []
    for index, prediction in enumerate(predictions):
        record = dataset[index]
        image = read_picture(record.file_name)
        panel = visualizer.side_by_side(image, prediction, record, THRESHOLD)
        path = folder / f"{Path(record.file_name).stem}.png"
        write_picture(path, panel)
        gallery.append(Picture(panel, caption=path.name))
    return gallery
