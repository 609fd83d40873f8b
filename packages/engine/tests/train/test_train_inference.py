"""Inference over a data set: rows D2-074, D2-075."""

import pytest
import torch
from torch import nn

from okulo_engine.inference import inference_on_dataset


class Doubling(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.fixed = nn.BatchNorm1d(1).eval()
        self.modes = []

    def forward(self, batch):
        self.modes.append((self.training, torch.is_grad_enabled()))
        return [{"value": 2 * sample["value"]} for sample in batch]


class Adding:
    def __init__(self, name):
        self.name, self.total = name, 99

    def reset(self):
        self.total = 0

    def process(self, inputs, outputs):
        self.total += sum(o["value"] - i["value"] for i, o in zip(inputs, outputs, strict=True))

    def evaluate(self):
        return {self.name: {"sum": self.total}} if self.name else None


BATCHES = [[{"value": 1}, {"value": 2}], [{"value": 3}]]


def test_one_pass_serves_all_evaluators():
    model = Doubling()
    results = inference_on_dataset(model, BATCHES, [Adding("a"), Adding("b"), Adding(None)])
    assert results == {"a": {"sum": 6}, "b": {"sum": 6}}
    assert model.modes == [(False, False)] * 2


def test_every_part_of_the_model_gets_its_mode_back():
    model = Doubling()
    inference_on_dataset(model, BATCHES, [])
    assert model.training
    assert model.layer.training
    assert not model.fixed.training


def test_the_mode_comes_back_after_an_error_too():
    model = Doubling()
    with pytest.raises(KeyError):
        inference_on_dataset(model, [[{}]], [])
    assert model.training


def test_a_data_set_without_images_is_evaluated_as_well():
    assert inference_on_dataset(Doubling(), [], [Adding("a")]) == {"a": {"sum": 0}}


def test_two_results_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two evaluators return results named \['a'\]"):
        inference_on_dataset(Doubling(), BATCHES, [Adding("a"), Adding("a")])
