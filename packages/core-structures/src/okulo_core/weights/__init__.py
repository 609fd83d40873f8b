"""Weights by name: out of files that run no code, and into a model, with a report of the fit."""

from okulo_core.weights.files import read_weight_file
from okulo_core.weights.loading import load_weights, names_of_tensors
from okulo_core.weights.report import LoadReport, Misfit

__all__ = ["LoadReport", "Misfit", "load_weights", "names_of_tensors", "read_weight_file"]
