"""What the benchmarks of operators share: two ways of the same work, timed in turns."""

import statistics
import time
from collections.abc import Callable

import torch

__all__ = ["compare", "heading"]

THREADS = 2


def heading(title: str) -> None:
    """Fix the threads and say what the rows below are."""
    torch.set_num_threads(THREADS)
    print(f"{title}; PyTorch {torch.__version__}, {THREADS} threads, medians of runs in turns")
    print(f"{'':<58}{'ours':>10}{'other':>11}{'ratio':>8}{'demand':>10}")


def compare(
    name: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    demand: str,
    seconds: float = 4.0,
) -> float:
    """Time both in turns for about ``seconds``; print and return ours / other.

    Args:
        name: The operator, its shapes, and what it is compared with.
        ours, other: The two ways; each is run twice before timing.
        demand: The bound the ratio is held to, such as "<= 0.60".
        seconds: How long to go on; at least five turns.
    """
    for function in (ours, other, ours, other):
        function()
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while len(times[0]) < 5 or time.perf_counter() < end:
        for function, record in zip((ours, other), times, strict=True):
            start = time.perf_counter()
            function()
            record.append(time.perf_counter() - start)
    mine, theirs = (statistics.median(record) for record in times)
    ratio = mine / theirs
    print(
        f"{name:<58}{mine * 1e3:>7.2f} ms{theirs * 1e3:>8.2f} ms{ratio:>8.3f}{demand:>10}",
        flush=True,
    )
    return ratio
