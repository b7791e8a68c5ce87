"""The configurations in which models are called: threads, batch, how calls follow each other, and the runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kdbench.measure.timed import TimedModel, TimingConfig, timed_runtimes
from kdbench.worker.jobs import TimedConfiguration

_SINGLE_SHARE = 0.6  # of the budget is for batch 1, the rest for batched runs


@dataclass(frozen=True)
class Configuration(TimedConfiguration):
    """One way of calling models, its share of every session's time, and the positions of the models that support it.

    `mode` is `stream` (calls back to back), `paced` (`gap_ms` idle before each) or `server` (calls arrive at random,
    `rate_per_s` on average, and wait for their turn).
    """

    share: float = 0.0
    runtime: str = "onnxruntime"

    def axes(self, provider: str) -> dict[str, str | int]:
        """Return the axes of its measurements. The defaults, back to back and onnxruntime, are no axes."""
        axes: dict[str, str | int] = {"provider": provider, "threads": self.threads, "batch": self.batch}
        if self.runtime != "onnxruntime":
            axes["runtime"] = self.runtime
        modes: dict[str, dict[str, str | int]] = {
            "paced": {"mode": "paced", "gap_ms": self.gap_ms},
            "server": {"mode": "server", "rate_per_s": self.rate_per_s},
        }
        return axes | modes.get(self.mode, {})


def configurations(models: Sequence[TimedModel], config: TimingConfig) -> tuple[Configuration, ...]:
    """Return how the models are called, the default way first.

    Back to back, batch 1 is called at each thread count and the other batches at the first; the other modes call
    batch 1 at each thread count. A model of fixed batch is called with that batch only. If that is no configured batch,
    it has a configuration without the models of open batch. A runtime calls no model that it refuses.
    """
    cells = [
        Configuration(
            threads=threads,
            batch=batch,
            models=positions,
            mode=mode,
            gap_ms=config.gap_ms if mode == "paced" else 0,
            rate_per_s=(config.rate_per_s or 0) if mode == "server" else 0,
            runtime=runtime,
        )
        for runtime in timed_runtimes(config)
        for mode in ("stream", "paced", "server")
        if mode in config.mode
        for threads, batch, positions in _cells(models, config, mode, runtime)
    ]
    batches = [cell.batch for cell in cells]
    return tuple(replace(cell, number=n, share=_share(batches, cell.batch)) for n, cell in enumerate(cells))


def _cells(
    models: Sequence[TimedModel], config: TimingConfig, mode: str, runtime: str
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield (threads, batch, positions of the models that support it) of one mode in one runtime."""
    common = {1, *config.batch} if mode == "stream" else {1}
    fixed = sorted({model.fixed_batch for model in models if model.fixed_batch} - common)
    single = [(threads, 1) for threads in config.threads]
    batched = [(config.threads[0], batch) for batch in (*sorted(common - {1}), *(fixed if mode == "stream" else ()))]
    callable_ = [(n, m.fixed_batch) for n, m in enumerate(models) if m.refusal_in(runtime) is None]
    for threads, batch in sorted(dict.fromkeys([*single, *batched]), key=lambda cell: config.threads.index(cell[0])):
        supported = {batch} if batch in fixed else {None, batch}
        if positions := tuple(n for n, fixed_batch in callable_ if fixed_batch in supported):
            yield threads, batch, positions


def _share(batches: list[int], batch: int) -> float:
    """Return the share of the time for one of `batches`, all configurations' batches."""
    singles = batches.count(1)
    if singles in {0, len(batches)}:
        return 1 / len(batches)
    return _SINGLE_SHARE / singles if batch == 1 else (1 - _SINGLE_SHARE) / (len(batches) - singles)
