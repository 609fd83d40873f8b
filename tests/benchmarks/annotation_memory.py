"""Memory of data loading workers over an epoch, beside a plain list of the same records.

    python tests/benchmarks/annotation_memory.py [--annotations N] [--workers W]

Forked workers share the parent's memory until someone writes to it. Merely looking at a Python
object writes its reference count, so that workers slowly copy a list of records; records in shared
memory stay shared. What a worker has for itself alone is its private memory (USS). What the machine
spends in all is the shared buffer and, added up over the parent and all workers, each one's share
of anonymous memory (Pss_Anon: every page divided by the number of processes that have it). Resident
memory (RSS) is printed too, but misleads both ways: a worker's copy of a page takes the place of
the shared one and changes nothing, while a shared page counts in full for every worker that has
touched it.

Every worker is measured when it has read its first few records, and after each epoch. What must
stay below 5 % for shared records: in the first epoch, the growth of private memory as a share of
the worker's resident memory, and that of the sum over all processes; in the next one, when every
shared page has been touched, the growth of each kind of memory per worker. Exits with 1 otherwise.
Needs Linux.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset

PER_IMAGE = 8  # COCO has 7.3 annotations per image
ALLOWED = 0.05
KINDS = ("private", "anonymous", "resident")


def records(annotations: int) -> Iterator[ImageRecord]:
    """Records like COCO's, with a box and a polygon of ten points per object."""
    numbers = torch.rand(annotations, 24, generator=torch.Generator().manual_seed(0)) * 400
    for start in range(0, annotations, PER_IMAGE):
        yield ImageRecord(
            file_name=f"train2017/{start:012d}.jpg",
            image_id=start,
            height=480,
            width=640,
            annotations=[
                Annotation(bbox=row[:4], category_id=k % 80, segmentation=[row[4:]], area=row[0])
                for k, row in enumerate(numbers[start : start + PER_IMAGE].tolist())
            ],
        )


def memory() -> dict[str, int]:
    """Bytes of this process, by kind, as the kernel counts them."""
    with open("/proc/self/smaps_rollup") as file:
        rows = {name.rstrip(":"): int(size) for name, size, *_ in map(str.split, list(file)[1:])}
    kilobytes = {
        "private": rows["Private_Clean"] + rows["Private_Dirty"],
        "anonymous": rows["Pss_Anon"],
        "resident": rows["Rss"],
    }
    return {kind: size * 1024 for kind, size in kilobytes.items()}


class Measured(Dataset[Any]):
    """Reads records as training does, and measures the worker's memory where asked to.

    Index -1 means "measure"; the others are positions.
    """

    def __init__(self, records: Sequence[ImageRecord]) -> None:
        self.records = records

    def __getitem__(self, index: int) -> Any:
        if index < 0:
            time.sleep(0.2)  # so that every worker is up when the first one measures
            info = get_worker_info()
            assert info is not None
            return info.id, memory()
        return sum(len(annotation.bbox) for annotation in self.records[index].annotations)


class Epoch:
    """Batches: a few records and a measurement for each worker, all records, a measurement."""

    def __init__(self, images: int, workers: int) -> None:
        self.images, self.workers = images, workers

    def __iter__(self) -> Iterator[list[int]]:
        # Batches go to workers in turn, so that as many batches as workers reach each of them.
        order = torch.randperm(self.images).tolist()
        yield from ([*order[:100], -1] for _ in range(self.workers))
        size = -(-self.images // (64 * self.workers))  # 64 batches for each worker
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        batches += [[] for _ in range(-len(batches) % self.workers)]
        yield from batches
        yield from ([-1] for _ in range(self.workers))


def run(name: str, records: Sequence[ImageRecord], workers: int) -> dict[str, float]:
    """Run two epochs, print a table, and return by what share memory grew."""
    images, shared = len(records), getattr(records, "nbytes", 0)
    loader = DataLoader(
        Measured(records),
        batch_sampler=Epoch(images, workers),  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context="fork",
        persistent_workers=True,
    )
    print(f"\n{name}: {images} images")
    print("  MiB per worker (mean)    private  anonymous  resident     all processes")
    stages: list[dict[str, float]] = []
    seconds: list[float] = []
    for epoch in (1, 2):
        began, found = time.perf_counter(), []
        for batch in loader:
            found += [item for item in batch if isinstance(item, tuple)]
            if len(found) == workers and not stages:
                stages.append(summary("start", found, shared))
        stages.append(summary(f"after epoch {epoch}", found[workers:], shared))
        seconds.append(time.perf_counter() - began)
    print(f"  seconds per epoch: {', '.join(f'{value:.1f}' for value in seconds)}")
    start, first, second = stages[:3]
    private = first["private"] - start["private"]
    growth = {
        "first epoch, private memory of resident": private / start["resident"],
        "first epoch, all processes": first["all"] / start["all"] - 1,
    } | {f"next epoch, {kind} memory": second[kind] / first[kind] - 1 for kind in KINDS}
    print(f"  private memory grew by {private / 2**20:.1f} MiB per worker in the first epoch")
    for title, value in growth.items():
        print(f"  growth in the {title}: {value:+.1%}")
    return growth


def summary(title: str, found: list[tuple[int, dict[str, int]]], shared: int) -> dict[str, float]:
    """Mean over workers, each of which measured itself once; and what all processes take."""
    assert len({worker for worker, _ in found}) == len(found)
    means = {kind: sum(sizes[kind] for _, sizes in found) / len(found) for kind in KINDS}
    total = shared + memory()["anonymous"] + sum(sizes["anonymous"] for _, sizes in found)
    values = [value / 2**20 for value in (*means.values(), total)]
    print("  {:<20} {:>11.1f} {:>10.1f} {:>9.1f} {:>17.1f}".format(title, *values))
    return means | {"all": float(total)}


def main() -> int:
    """Run the benchmark; the exit code says whether shared records stayed shared."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--annotations", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--no-list", action="store_true", help="leave out the list, which copies")
    arguments = parser.parse_args()
    print(f"{arguments.annotations} annotations, {arguments.workers} workers")

    dataset = InMemoryDataset(DatasetInfo(name="made up"), records(arguments.annotations))
    print(f"shared buffer: {dataset.records.nbytes / 2**20:.1f} MiB")
    growth = run("shared records", dataset.records, arguments.workers)
    del dataset
    if not arguments.no_list:
        plain = list(records(arguments.annotations))
        run("list of Python objects", plain, arguments.workers)
    return int(max(growth.values()) >= ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
