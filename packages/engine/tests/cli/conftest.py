"""A toy world that the commands can run: a data set of flat pictures, a model of one number."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import frozen
from PIL import Image
from torch import nn

from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.hookspecs import Component, hookimpl
from okulo_core.plugins import Plugins
from okulo_core.structures import Boxes, Instances
from okulo_engine import plugin
from okulo_engine.cli.pictures import read_picture

INFO = DatasetInfo(name="toy", thing_classes=("cell", "nucleus"), thing_dataset_ids=(7, 9))


@frozen(kw_only=True)
class ToyDatasetConfig:
    root: str
    count: int = 4

    def build(self):
        box = Annotation(bbox=(1, 1, 5, 4), category_id=1)
        return InMemoryDataset(
            INFO,
            [
                ImageRecord(
                    file_name=f"{self.root}/{i}.png",
                    image_id=i,
                    width=8,
                    height=6,
                    annotations=(box,),
                )
                for i in range(self.count)
            ],
        )


@frozen(kw_only=True)
class ToyMapperConfig:
    def build(self, info, training):
        def mapper(record, rng):
            picture = read_picture(record.file_name)
            height, width = picture.shape[:2]
            return {
                "image": torch.from_numpy(picture).permute(2, 0, 1).float(),
                "height": height,
                "width": width,
                "image_id": record.image_id,
                "file_name": record.file_name,
            }

        return mapper


class ToyModel(nn.Module):
    """Learns the brightness of the pictures; sees a nucleus (label 1) in each."""

    def __init__(self, masks):
        super().__init__()
        self.brightness = nn.Parameter(torch.zeros(()))
        self.masks = masks

    @property
    def device(self):
        return self.brightness.device

    def forward(self, batch):
        if self.training:
            mean = torch.stack([sample["image"].mean() / 255 for sample in batch]).mean()
            return {"loss_brightness": (self.brightness - mean) ** 2}
        return [{"instances": self.found(sample)} for sample in batch]

    def found(self, sample):
        instances = Instances((sample["height"], sample["width"]))
        instances.pred_boxes = Boxes(torch.tensor([[1.0, 1.0, 5.0, 4.0]]))
        instances.scores = torch.tensor([0.75])
        instances.pred_classes = torch.tensor([1])
        if self.masks:
            mask = torch.zeros(1, sample["height"], sample["width"], dtype=torch.bool)
            mask[:, 1:4, 1:5] = True
            instances.pred_masks = mask
            instances.pred_keypoints = torch.tensor([[[2.5, 3.5, 0.25], [4.0, 1.0, 0.5]]])
        return instances


@frozen(kw_only=True)
class ToyModelConfig:
    masks: bool = False

    def build(self):
        return ToyModel(self.masks)


@frozen(kw_only=True)
class ToyEvaluatorConfig:
    def build(self, dataset, output_dir):
        return ToyEvaluator()


class ToyEvaluator:
    def reset(self):
        self.images = 0

    def process(self, inputs, outputs):
        self.images += len(inputs)

    def evaluate(self):
        return {"bbox": {"images": float(self.images), "AP-empty": float("nan")}}


@frozen(kw_only=True)
class ToyVisualizerConfig:
    def build(self, info):
        return ToyVisualizer()


class ToyVisualizer:
    """A white corner where something scores enough."""

    def draw_prediction(self, image, prediction, threshold=0.5):
        drawn = image.copy()
        if (prediction["instances"].scores >= threshold).any():
            drawn[0, 0] = 255
        return drawn


class Toys:
    def __init__(self, runs):
        self._runs = runs

    @hookimpl
    def okulo_components(self):
        kinds = {
            "dataset": ("toy", ToyDatasetConfig),
            "mapper": ("toy", ToyMapperConfig),
            "model": ("toy", ToyModelConfig),
            "evaluator": ("toy", ToyEvaluatorConfig),
            "visualizer": ("instances", ToyVisualizerConfig),
        }
        return [
            Component(kind=kind, name=name, config=f"{cls.__module__}:{cls.__name__}")
            for kind, (name, cls) in kinds.items()
        ]

    @hookimpl
    def okulo_resolve_path(self, path):
        return f"{self._runs}/{path.removeprefix('toy://')}.yaml" if "toy://" in path else None


RUN = """
model: {{type: toy}}
train_data: &data
  dataset: {{type: toy, root: {root}}}
  mapper: {{type: toy}}
  batch_size: 2
  workers: 0
test_data: *data
optimizer: {{type: sgd, lr: 0.1}}
schedule: {{type: cosine, warmup_steps: 0}}
steps: 3
device: cpu
evaluators: [{{type: toy}}]
loggers: []
"""


@pytest.fixture
def toys(tmp_path):
    """The plugins that make up the toy world; its pictures, and the file of a run ``toy.yaml``."""
    for i in range(4):
        picture = np.full((6, 8, 3), 40 * i, dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    Path(tmp_path / "toy.yaml").write_text(RUN.format(root=tmp_path))
    plugins = Plugins()
    plugins.register("okulo-engine", plugin)
    plugins.register("toys", Toys(tmp_path))
    return plugins
