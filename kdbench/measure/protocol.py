"""What is measured, on what, how, and what comes back: the values the harness takes and returns."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.machine.system_monitor import Conditions
from kdbench.measure.network import FOREIGN, Refusal
from kdbench.modelfile.facts import ModelFacts
from kdbench.progress import Progress
from kdbench.results.cards import ModelCard
from kdbench.results.records import Diagnostic, Interval, Layer, Measurement, Pair
from kdbench.statistics import Estimate
from kdbench.worker.jobs import Network


@dataclass(frozen=True)
class BenchModel:
    """A model file to measure, what is known of it, and the id of the subject it is compared with, if any.

    A subject that is not `timed` gets its accuracy, fidelity, size and MACs only. `network` is what it was exported
    from, for runtimes that do not run the file; `refused` are the runtimes that do not run it, and why.
    """

    card: ModelCard
    path: Path
    facts: ModelFacts
    teacher: str | None = None
    timed: bool = True
    network: Network | Refusal = FOREIGN
    refused: Mapping[str, Refusal] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The card's id."""
        return self.card.id


@dataclass(frozen=True)
class TestSet:
    """Test images, uint8 (N, C, H, W), and labels, int64 (N,); `classes` where their list is known.

    A model must have just as many then; else at least as many as the labels show.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int | None = None

    def sha256(self) -> str:
        """Return what tells this set from others: the SHA-256 of its shape, images and labels, in their order."""
        found = hashlib.sha256(repr(self.images.shape).encode())
        for image in self.images:  # one by one: a large set is no array in one piece
            found.update(image.tobytes())
        found.update(self.labels.astype("<i8").tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class Protocol:
    """How to measure.

    Latency is taken in `sessions` fresh processes at least, and goes on until the interval of every headline ratio is
    narrower than `precision` (a share of the ratio) or `budget_s` is spent. Batch 1 is timed at every one of
    `threads`, each `batch` at the first of them only; calls follow each other as each `mode` says, `gap_ms` idle
    between them when paced, at `rate_per_s` on average when a server. `runtime` is what runs the models; `cores` is
    where, of the cores this process may use (None: `core_choice`). `energy` is "off" or one of `energy.rounds.MODES`;
    `estimate_energy` admits a labelled estimate where no counter can be read, `country` (ISO 3166, three letters) asks
    for CO₂e. `profile` asks where the time goes by layer.
    """

    provider: str = "cpu"
    threads: tuple[int, ...] = (1,)
    batch: tuple[int, ...] = (128,)
    mode: tuple[str, ...] = ("stream",)
    gap_ms: int = 5
    rate_per_s: int | None = None
    runtime: tuple[str, ...] = ("onnxruntime",)
    cores: tuple[int, ...] | None = None
    budget_s: float = 20.0
    precision: float = 0.05
    sessions: int = 8
    energy: str = "quick"
    estimate_energy: bool = False
    country: str | None = None
    profile: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Findings:
    """What the harness found out.

    `samples` holds the raw latencies: `{model}/{configuration}/ns`, int64, the time of each call, where a configuration
    is named like `cpu-t1-b8` (`Configuration.key`); `.../session` and `.../block`, int32, the session each call was in
    and the round within it; and `floor_ns`, the median time of a call that computes nothing, one a session. Of energy,
    an element a window: `{model}/{configuration}-energy/calls`, and of each source `…/{source}-j` and `…/{source}-ns`.
    Of accuracy `{model}/correct`, bool (N,): on which test images, in their order, the label was ranked first.
    `protocol` tells how numbers were taken, beyond what `Protocol` says; JSON values. `conditions` are those of every
    session.
    """

    measurements: tuple[Measurement, ...] = ()
    pairs: tuple[Pair, ...] = ()
    layers: tuple[Layer, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    samples: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    conditions: tuple[Conditions, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return replace(
            self,
            measurements=self.measurements + other.measurements,
            pairs=self.pairs + other.pairs,
            layers=self.layers + other.layers,
            warnings=self.warnings + other.warnings,
            samples=self.samples | other.samples,
            protocol=self.protocol | other.protocol,
            conditions=self.conditions + other.conditions,
        )


@dataclass(frozen=True)
class SubProgress:
    """A watcher of one part of a stage: its steps are shown between `start` and `end` of the whole, 0 to 1."""

    whole: Progress
    start: float
    end: float
    detail: str

    def stage(self, title: str, number: int, total: int) -> None:
        """Pass on the stage."""
        self.whole.stage(title, number, total)

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Show `done` of `total` of this part."""
        share = min(done / total, 1.0) if total else 1.0
        text = ": ".join(filter(None, (self.detail, detail)))
        self.whole.step(self.start + share * (self.end - self.start), 1.0, text)

    def note(self, text: str) -> None:
        """Pass on the note."""
        self.whole.note(text)

    def folder(self, path: Path) -> None:
        """Pass on the folder."""
        self.whole.folder(path)

    def part(self, number: int, parts: int, detail: str) -> "SubProgress":
        """Return the watcher of part `number`, from 0, of equal `parts` of this one."""
        width = (self.end - self.start) / parts
        return replace(self, start=self.start + number * width, end=self.start + (number + 1) * width, detail=detail)


def interval(estimate: Estimate) -> Interval | None:
    """Return an estimate's interval as a record holds it."""
    if estimate.low is None or estimate.high is None:
        return None
    return Interval(low=estimate.low, high=estimate.high)


def energy_metrics(protocol: Protocol) -> tuple[str, ...]:
    """Return what the energy pass tells of each model and batch."""
    return ("energy_j", "energy_net_j", "energy_run_j", *(["co2_g"] if protocol.country else []))


def outer_batches(subject: BenchModel, protocol: Protocol) -> list[int]:
    """Return batch 1 and the largest of the protocol's, between which costs lie; a fixed batch alone."""
    if subject.facts.fixed_batch:
        return [subject.facts.fixed_batch]
    return sorted({1, max(protocol.batch, default=1)})


def threads_text(count: int) -> str:
    """Return a number of threads in words."""
    return f"{count} thread{'s' if count != 1 else ''}"


def students(subjects: Sequence[BenchModel]) -> list[tuple[BenchModel, BenchModel]]:
    """Return (teacher, student) for each subject that is compared with another one of `subjects`."""
    by_id = {subject.id: subject for subject in subjects}
    return [(by_id[s.teacher], s) for s in subjects if s.teacher in by_id and s.teacher != s.id]
