"""The models and settings that timing needs: the part that the harness shares with devices.

Imports only the standard library: a device that measures a bundle runs this file too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

ONNXRUNTIME = "onnxruntime"
"""The runtime that runs ONNX files."""

UNTIMED = frozenset({"tflite-micro"})
"""Runtimes of other processors: here kdbench measures their outputs and memory, not their times."""

SEED = 0
"""The seed of everything random in a measurement: noise images, order of blocks, arrivals, resampling."""


class HasReason(Protocol):
    """Why something was not measured."""

    @property
    def reason(self) -> str:
        """The reason in words."""


class TimedModel(Protocol):
    """A model that is timed."""

    @property
    def id(self) -> str:
        """The card's id."""

    @property
    def name(self) -> str:
        """The card's name."""

    @property
    def sha256(self) -> str:
        """The hash of the file."""

    @property
    def teacher(self) -> str | None:
        """The id of the model that it is compared with, if any."""

    @property
    def behind(self) -> str | None:
        """For a compressed variant of a student, the id of the student's teacher; `teacher` is then the student."""

    @property
    def fixed_batch(self) -> int | None:
        """The only batch that the file takes; None if it takes any."""

    def refusal_in(self, runtime: str | None) -> HasReason | None:
        """Return why the model is not measured in `runtime` (None: in any), or None if it is."""


class TimingConfig(Protocol):
    """The settings of `kdbench.recipe.Measure` that decide how calls are timed."""

    @property
    def provider(self) -> str:
        """The execution provider."""

    @property
    def threads(self) -> tuple[int, ...]:
        """The thread counts, the headline's first."""

    @property
    def batch(self) -> tuple[int, ...]:
        """The sizes of batched runs."""

    @property
    def mode(self) -> Sequence[str]:
        """How calls follow each other."""

    @property
    def gap_ms(self) -> int:
        """The idle time before each call in mode paced."""

    @property
    def rate_per_s(self) -> int | None:
        """How many calls arrive in a second in mode server."""

    @property
    def runtime(self) -> Sequence[str]:
        """What executes the models."""

    @property
    def cores(self) -> tuple[int, ...] | None:
        """The cores that processes take turns on, None for the default."""

    @property
    def budget_s(self) -> float:
        """The most time for latency."""

    @property
    def precision(self) -> float:
        """The width of intervals, as a share, that ends the measurement."""

    @property
    def sessions(self) -> int:
        """The fewest sessions."""


Model = TypeVar("Model", bound=TimedModel)


def axes_of(config: TimingConfig, **more: str | int) -> dict[str, str | int]:
    """Return the axes of a measurement with the first number of threads, and `more`."""
    return {"provider": config.provider, "threads": config.threads[0], **more}


def timed_runtimes(config: TimingConfig) -> list[str]:
    """Return the configured runtimes that give times."""
    return [runtime for runtime in config.runtime if runtime not in UNTIMED]


def outer_batches(model: TimedModel, config: TimingConfig) -> list[int]:
    """Return batch 1 and the largest configured batch; a fixed batch alone."""
    if model.fixed_batch:
        return [model.fixed_batch]
    return sorted({1, max(config.batch, default=1)})


def students(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Return (teacher, student) for each model whose teacher is another one of `models`."""
    by_id = {model.id: model for model in models}
    return [(by_id[s.teacher], s) for s in models if s.teacher in by_id and s.teacher != s.id]


def variants_with_teachers(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Return (teacher, variant) for each variant of a student, where `variant.behind` is the student's teacher."""
    by_id = {model.id: model for model in models}
    return [(by_id[m.behind], m) for m in models if m.behind in by_id and m.behind not in {m.id, m.teacher}]


def compared(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Return all pairs of models whose costs are compared, those of `students` first."""
    return students(models) + variants_with_teachers(models)
