"""From records to batches: samplers, grouping by aspect ratio, workers, resuming."""

from okulo_engine.loading.batching import grouped, landscape_flags
from okulo_engine.loading.loader import (
    Loader,
    LoaderConfig,
    build_test_loader,
    build_train_loader,
)
from okulo_engine.loading.records import Subset, annotated_indices
from okulo_engine.loading.samplers import (
    InferenceSampler,
    TrainingSampler,
    TrainingSamplerConfig,
)

__all__ = [
    "InferenceSampler",
    "Loader",
    "LoaderConfig",
    "Subset",
    "TrainingSampler",
    "TrainingSamplerConfig",
    "annotated_indices",
    "build_test_loader",
    "build_train_loader",
    "grouped",
    "landscape_flags",
]
