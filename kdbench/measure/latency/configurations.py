"""The ways in which models are called: threads, batch, how calls follow each other, and what runs them."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.measure.bench_model import BenchModel
from kdbench.recipe.measure import Measure

_SINGLE_SHARE = 0.6  # of the budget goes to batch 1, the rest to batched runs


@dataclass(frozen=True)
class Configuration:
    """One way of calling the models, its share of every session's time, and the subjects that can be so called.

    `mode` is `stream` (calls back to back), `paced` (`gap_ms` idle before each) or `server` (calls arrive at random,
    `rate_per_s` on average, and wait for their turn).
    """

    threads: int
    batch: int
    models: tuple[int, ...]
    share: float
    mode: str = "stream"
    gap_ms: int = 0
    rate_per_s: int = 0
    runtime: str = "onnxruntime"

    def axes(self, provider: str) -> dict[str, str | int]:
        """Return the axes of what is measured so. What is usual goes without saying: back to back, onnxruntime."""
        found: dict[str, str | int] = {"provider": provider, "threads": self.threads, "batch": self.batch}
        if self.runtime != "onnxruntime":
            found["runtime"] = self.runtime
        if self.mode != "stream":
            found["mode"] = self.mode
        if self.mode == "paced":
            found["gap_ms"] = self.gap_ms
        if self.mode == "server":
            found["rate_per_s"] = self.rate_per_s
        return found


def configurations(subjects: Sequence[BenchModel], config: Measure) -> tuple[Configuration, ...]:
    """Return how the subjects are called, the usual way first.

    Back to back, batch 1 is called at each thread count and the other batches at the first; the other modes call
    batch 1 at each thread count. A model of fixed batch is called with that batch only, in a configuration of its own
    where no other model is; models that leave their batch open are not made to follow it there. A runtime calls no
    model that it refused.
    """
    found = []
    for runtime in config.runtime:
        for mode in ("stream", "paced", "server"):
            if mode in config.mode:
                found += [
                    (threads, batch, able, mode, runtime)
                    for threads, batch, able in _cells(subjects, config, mode, runtime)
                ]
    batches = [batch for _, batch, *_ in found]
    return tuple(
        Configuration(
            threads,
            batch,
            able,
            _share(batches, batch),
            mode,
            gap_ms=config.gap_ms if mode == "paced" else 0,
            rate_per_s=(config.rate_per_s or 0) if mode == "server" else 0,
            runtime=runtime,
        )
        for threads, batch, able, mode, runtime in found
    )


def _cells(
    subjects: Sequence[BenchModel], config: Measure, mode: str, runtime: str
) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return (threads, batch, subjects that can be called so) of one mode in one runtime."""
    common = {1, *config.batch} if mode == "stream" else {1}
    fixed = sorted({s.facts.fixed_batch for s in subjects if s.facts.fixed_batch} - common)
    single = [(threads, 1) for threads in config.threads]
    batched = [(config.threads[0], batch) for batch in (*sorted(common - {1}), *(fixed if mode == "stream" else ()))]
    found = []
    for threads, batch in sorted(dict.fromkeys([*single, *batched]), key=lambda each: config.threads.index(each[0])):
        takes = {batch} if batch in fixed else {None, batch}
        able = tuple(n for n, s in enumerate(subjects) if s.facts.fixed_batch in takes and runtime not in s.refused)
        if able:
            found.append((threads, batch, able))
    return found


def _share(batches: list[int], batch: int) -> float:
    """Return the share of the time for one of `batches`, all configurations' batches."""
    singles = batches.count(1)
    if singles in {0, len(batches)}:
        return 1 / len(batches)
    return _SINGLE_SHARE / singles if batch == 1 else (1 - _SINGLE_SHARE) / (len(batches) - singles)
