"""A data set, a model and an evaluator in which everything a run must repeat plays a part.

The mapper draws noise, the model drops features by PyTorch's, numpy's and Python's global random
numbers, normalises by running statistics, and has a shared and a frozen parameter.
"""

import random
import sys

import numpy as np
import torch
from attrs import evolve, frozen
from torch import nn
from torch.nn import functional as F

from okulo_core.catalog import Catalog
from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.hookspecs import Component, hookimpl
from okulo_core.plugins import Plugins
from okulo_engine import plugin as engine
from okulo_engine.hooks import CheckpointConfig
from okulo_engine.loading import LoaderConfig
from okulo_engine.loggers import JsonLinesConfig
from okulo_engine.optim import MultiStepConfig, SGDConfig
from okulo_engine.run_config import RunConfig

CLASSES = ("circle", "square", "star")


@frozen(kw_only=True)
class ToyDatasetConfig:
    length: int = 12
    classes: tuple[str, ...] = CLASSES

    def build(self):
        records = [
            ImageRecord(
                file_name=f"{index}.png",
                image_id=100 + index,
                height=6,
                width=6,
                annotations=[Annotation(bbox=(0, 0, 3, 3), category_id=index % len(self.classes))],
            )
            for index in range(self.length)
        ]
        return InMemoryDataset(DatasetInfo(name="toy", thing_classes=self.classes), records)


@frozen(kw_only=True)
class ToyMapperConfig:
    noise: float = 0.3
    poison: int | None = None  # id of an image that has NaN for pixels

    def build(self, info, training):
        def toy_map(record, rng):
            label = record.annotations[0].category_id
            image = np.full((3, 6, 6), 0.1, dtype=np.float32)
            image[label] += 1.0
            if training:
                image += self.noise * rng.standard_normal(image.shape, dtype=np.float32)
            if record.image_id == self.poison:
                image[:] = np.nan
            return {
                "image": torch.from_numpy(image),
                "image_id": record.image_id,
                "label": label,
                "height": 6,
                "width": 6,
            }

        # A closure cannot travel to a spawned worker; these runs load in the process or fork.
        return toy_map


class ToyModel(nn.Module):
    def __init__(self, num_classes, width, norm, noisy):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.head = nn.Linear(width, num_classes)
        self.same_head = self.head
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.noisy = noisy

    @property
    def device(self):
        return self.head.weight.device

    def forward(self, batch):
        images = torch.stack([sample["image"] for sample in batch]).to(self.device)
        features = F.relu(self.norm(self.conv(images))).mean((2, 3))
        if self.training and self.noisy:
            features = F.dropout(features, 0.2) * (1 + 0.1 * random.random() * np.random.rand())
        logits = self.head(features)
        if not self.training:
            return [{"label": int(row.argmax())} for row in logits]
        labels = torch.tensor([sample["label"] for sample in batch], device=self.device)
        return {
            "loss_cls": F.cross_entropy(logits, labels),
            "loss_size": 0.01 * (logits**2).mean(),
        }


@frozen(kw_only=True)
class ToyModelConfig:
    num_classes: int = 3
    width: int = 8
    norm: bool = True
    noisy: bool = True

    def build(self):
        return ToyModel(self.num_classes, self.width, self.norm, self.noisy)


class Accuracy:
    def __init__(self, dataset):
        self._truth = {record.image_id: record.annotations[0].category_id for record in dataset}

    def reset(self):
        self._right = []

    def process(self, inputs, outputs):
        for sample, output in zip(inputs, outputs, strict=True):
            self._right.append(self._truth[sample["image_id"]] == output["label"])

    def evaluate(self):
        return {"toy": {"accuracy": 100.0 * sum(self._right) / len(self._right)}}


@frozen(kw_only=True)
class AccuracyConfig:
    def build(self, dataset, output_dir):
        return Accuracy([dataset[index] for index in range(len(dataset))])


class ToyPlugin:
    @hookimpl
    def okulo_components(self):
        return [
            Component(kind="dataset", name="toy", config="train_toy:ToyDatasetConfig"),
            Component(kind="mapper", name="toy", config="train_toy:ToyMapperConfig"),
            Component(kind="model", name="toy", config="train_toy:ToyModelConfig"),
            Component(kind="evaluator", name="accuracy", config="train_toy:AccuracyConfig"),
        ]


def toy_catalog() -> Catalog:
    plugins = Plugins()
    plugins.register("toy", ToyPlugin())
    plugins.register("okulo-engine", engine)
    return plugins.catalog()


def toy_run(**changes) -> RunConfig:
    data = LoaderConfig(
        dataset=ToyDatasetConfig(), mapper=ToyMapperConfig(), batch_size=4, workers=0
    )
    run = RunConfig(
        model=ToyModelConfig(),
        train_data=data,
        test_data=data,
        optimizer=SGDConfig(lr=0.1),
        schedule=MultiStepConfig(milestones=(20,), warmup_steps=5),
        steps=30,
        device="cpu",
        eval_period=10,
        evaluators=(AccuracyConfig(),),
        checkpoint=CheckpointConfig(period=5, keep=2, best="toy/accuracy"),
        log_period=5,
        loggers=(JsonLinesConfig(),),
    )
    return evolve(run, **changes)


if __name__ == "__main__":
    # train_toy.py OUTPUT CONFIG: train, resuming if there is something to resume from
    sys.modules["train_toy"] = sys.modules["__main__"]
    from okulo_core.config import load_config
    from okulo_engine.train import train

    torch.set_num_threads(1)
    known = toy_catalog()
    train(
        load_config(sys.argv[2], RunConfig, known),
        output_dir=sys.argv[1],
        catalog=known,
        resume=True,
    )
