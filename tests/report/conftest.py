"""Records that every test of reports shares, and figures that are drawn once."""

from collections.abc import Callable

import pytest
from report import energy_runs
from report.sample_run import MODELS, card, interval, pair, record

from kdbench import report
from kdbench.report.figures import Drawing, draw
from kdbench.results.cards import ModelCard
from kdbench.results.records import Diagnostic, Measurement, Pair, RunRecord, measured, missing
from kdbench.results.samples import Samples


@pytest.fixture(scope="session")
def _drawings() -> dict[str, list[Drawing]]:
    return {}


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch: pytest.MonkeyPatch, _drawings: dict[str, list[Drawing]]) -> None:
    """Draw the figures of a record without samples once, not for every page, unless a test asks for `drawn_anew`."""
    draw = report.draw

    def drawn(record: RunRecord, samples: Samples) -> list[Drawing]:
        if samples:
            return draw(record, samples)
        key = record.model_dump_json()
        if key not in _drawings:
            _drawings[key] = draw(record, samples)
        return list(_drawings[key])

    monkeypatch.setattr(report, "draw", drawn)


@pytest.fixture
def drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the figures every time: for tests that compare two drawings."""
    monkeypatch.setattr(report, "draw", draw)


@pytest.fixture
def make_record() -> Callable[..., RunRecord]:
    """Return the maker of the sample record; its keywords replace fields of the record."""
    return record


@pytest.fixture
def make_card() -> Callable[..., ModelCard]:
    """Return the maker of the sample's model cards; its keywords replace fields of the card."""
    return card


@pytest.fixture
def sample() -> RunRecord:
    return record()


@pytest.fixture
def seeded() -> RunRecord:
    """Return a run of two seeds: accuracies differ between the seeds, all else is measured on the first."""
    base = record()
    ids = {name: f"{name}-s1" for name in MODELS}
    again = [card(name, id=ids[name], seed=1) for name in MODELS]
    shifted = [
        measured(ids[m.model], m.metric, m.value - 0.01, interval=m.interval, n=m.n)
        for m in base.measurements
        if m.metric in {"top1", "agreement"} and m.value is not None
    ]
    drops = [
        pair.model_copy(update={"teacher": ids[pair.teacher], "student": ids[pair.student], "value": pair.value + 0.5})
        for pair in base.pairs
        if pair.metric == "top1_drop" and pair.value is not None
    ]
    return record(
        models=(*base.models, *again), measurements=(*base.measurements, *shifted), pairs=(*base.pairs, *drops)
    )


@pytest.fixture
def swept() -> RunRecord:
    """Return the digits run with throughput offline: the teacher's is level from batch 4 on, a budget ended early."""
    base = record()
    at: dict[str, str | int] = {"provider": "cpu", "threads": 1, "mode": "offline"}
    rates = {"teacher": (900.0, 1200.0, 1600.0, 1590.0, 1580.0), "student-kd": (5000.0, 9000.0, 14000.0)}
    measurements = []
    for name, by_batch in rates.items():
        for power, rate in enumerate(by_batch):
            bounds = interval(0.97 * rate, 1.03 * rate)
            axes = {**at, "batch": 2**power}
            measurements.append(measured(name, "throughput_per_s", rate, axes=axes, interval=bounds, n=500))
        best = max(by_batch)
        measurements.append(
            measured(name, "max_throughput_per_s", best, axes=at, interval=interval(0.97 * best, 1.03 * best))
        )
    measurements.append(missing("student-hint", "max_throughput_per_s", "killed by signal 9", status="error", axes=at))
    both = {"teacher": "teacher", "student": "student-kd"}
    short = Diagnostic(
        code="offline_shortened",
        message="throughput offline with 1 thread may be larger: the budget was too short for batch 8",
        remedy="give it a longer --budget",
        model="student-kd",
    )
    return record(
        measurements=(*base.measurements, *measurements),
        pairs=(*base.pairs, pair("throughput_ratio", (8.75, 8.5, 9.0), both, at, n=5)),
        warnings=(*base.warnings, short),
    )


REFUSED = "the ONNX file strays from the network by 0.31 (tolerance 0.0001)"


@pytest.fixture
def refused() -> RunRecord:
    """Return the digits run with a student whose file the parity gate refused: nothing of it was measured."""
    base, name = record(), "student-hint"

    def without(metric: str, axes: dict[str, str | int]) -> Measurement:
        status = "invalid" if metric == "parity_max_abs" else "unavailable"
        return missing(name, metric, REFUSED, status=status, axes=axes)

    def without_number(pair: Pair) -> Pair:
        nothing = {"value": None, "interval": None, "n": None, "status": "unavailable", "reason": REFUSED}
        return pair.model_copy(update=nothing)

    return record(
        measurements=[
            without(m.metric, m.axes) if m.model == name and m.metric != "training_s" else m for m in base.measurements
        ],
        pairs=[without_number(pair) if pair.student == name else pair for pair in base.pairs],
        warnings=[Diagnostic(code="parity_failed", message=f"not measured: {REFUSED}", model=name)],
    )


@pytest.fixture
def metered() -> RunRecord:
    return energy_runs.metered()


@pytest.fixture
def estimated() -> RunRecord:
    return energy_runs.estimated()


@pytest.fixture
def metered_gpu() -> RunRecord:
    return energy_runs.metered_gpu()
