"""How the numbers were obtained and how to read them: rules, metric definitions, environment and files."""

from collections.abc import Container, Iterable, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from kdbench import units
from kdbench.report.cells import Text, portable
from kdbench.report.model_groups import has_one_seed, has_seeds
from kdbench.report.scores import score_of
from kdbench.report.table import Row, Table, words
from kdbench.report.tables.energy import energies
from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.results.records import RunRecord

_UNITS = {"_per_s": "1/s", "_ms": "ms", "_s": "s", "_w": "W", "_per_kwh": "per kWh"}  # key suffixes
_MAX_TEXT = 2000  # characters of a value in the table of the environment
_ENERGY = (
    "Energy is read from the meter named with it and covers only that part of the machine. Models take turns in "
    "windows of many calls; the value for a model is the median of its windows. `±` is half of a 95 % interval. It "
    "includes the spread between windows, the resolution of the meter and, for net energy, the uncertainty of the idle "
    "power. It does not include the calibration error of the meter. Energy ratios compare windows of the same round."
)


def notes(record: RunRecord) -> list[str]:
    """Return the rules for reading the report's numbers, one or two sentences each."""
    levels = {f.interval.level for f in (*record.measurements, *record.pairs) if f.interval is not None}
    level = " or ".join(f"{100 * level:g} %" for level in sorted(levels)) or "95 %"
    score = score_of(record)
    n = next((m.n for m in record.measurements if m.metric == score.metric and m.n and not m.axes), None)
    metered = any(m.value is not None and m.evidence == "measured" for m in energies(record, "energy_j", "training_j"))
    return [
        (
            f"`[low, high]` is a confidence interval at {level}. For an {score.noun} it covers the choice of test "
            f"samples{f' (n = {n:,})' if n else ''}{_of_seeds(record)}; for a time or a speed-up, the choice of "
            f"sessions and blocks{_between_runs(record)}."
        ),
        (
            "Latency is sampled in sessions. Each session is a fresh process in which the models take turns in short "
            f"blocks{_sampling(record)}. Speed-ups are estimated from adjacent blocks, not from two separate averages."
        ),
        (
            "MACs count the multiply–accumulates of convolutions, linear layers and matrix products. Bias, "
            "normalisation, activation and pooling are not counted."
        ),
        *([_ENERGY] if metered else []),
        (
            "`n/a` marks a missing value and gives the reason; no value is filled in. The samples of an unstable value "
            "disagree, and its interval is wide enough to allow for it. `~` marks an estimate, which is never ranked "
            "against a measurement."
        ),
        "Sizes use decimal prefixes: 1 MB is 1,000,000 bytes.",
    ]


def _of_seeds(record: RunRecord) -> str:
    """Return whether intervals of accuracies cover the choice of seeds, as a clause."""
    if has_seeds(record):
        return ", and of seeds where there are several"
    return ", not that of the seed" if has_one_seed(record) else ""


def glossary(record: RunRecord) -> Table:
    """Return the definitions of the metrics in the record, in the order of their declaration."""
    used = {result.metric for result in (*record.measurements, *record.pairs)}
    rows = [
        (m.title, Text(m.id, code=True), m.unit, m.formula)
        for m in (*METRICS.values(), *PAIR_METRICS.values())
        if m.id in used
    ]
    return _word_table("Metric definitions", ("Metric", "Id", "Unit", "Definition"), rows)


def environment(record: RunRecord) -> Table:
    """Return the machine, the software and the protocol."""
    known = record.environment
    git = f"{known.git_commit}{' (with local changes)' if known.git_dirty else ''}" if known.git_commit else "unknown"
    rows = [
        *((_name(key), _value(key, value)) for key, value in known.host.items()),
        *known.libraries.items(),
        ("git commit", git),
        *(
            (f"protocol: {_name(key)}", _cut(_value(key, value, verbatim=record.cards)))
            for key, value in record.protocol.items()
            if value is not None  # not requested
        ),
    ]
    return _word_table("Environment", ("Item", "Value"), rows)


def model_files(record: RunRecord) -> Table:
    """Return each model's file with its hash, input shape and opset."""
    rows = [
        (
            Text(card.id, code=True),
            PurePosixPath(PureWindowsPath(card.file).as_posix()).name,
            Text(card.sha256, code=True),
            "×".join(str(side) for side in card.input_shape),
            "unknown" if card.opset is None else str(card.opset),
        )
        for card in record.models
    ]
    return _word_table("Model files", ("Model", "File", "SHA-256", "Input", "Opset"), rows)


def _word_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    cells = [Row(tuple(cell if isinstance(cell, Text) else Text(cell) for cell in row)) for row in rows]
    return Table(title, tuple(words(*heads)), tuple(cells))


def _between_runs(record: RunRecord) -> str:
    resolution = record.protocol.get("resolution")
    if not isinstance(resolution, float):
        return ""
    return f", and a standard error of {100 * resolution:g} % for run-to-run variation that is not visible within a run"


def _sampling(record: RunRecord) -> str:
    """Return how many sessions were run, and why sampling stopped, in parentheses."""
    protocol = record.protocol
    count = protocol.get("sessions_taken", protocol.get("sessions"))
    if count is None:
        return ""
    width, precision = protocol.get("widest_interval"), protocol.get("precision")
    if not isinstance(width, float) or not isinstance(precision, float):
        return f" ({count} sessions)"
    reason = "the budget was spent" if protocol.get("stopped") == "budget" else "the precision was reached"
    return (
        f" ({count} sessions until {reason}; the widest headline interval is {100 * width:.1f} % of its value, the "
        f"requested precision {100 * precision:g} %)"
    )


def _name(key: str) -> str:
    for suffix in ("_bytes", "_ns"):
        key = key.removesuffix(suffix)
    for suffix, unit in _UNITS.items():
        if key.endswith(suffix):
            return f"{key.removesuffix(suffix)} ({unit})".replace("_", " ")
    return key.replace("_", " ")


def _value(key: str, value: Any, verbatim: Container[str] = ()) -> str:
    """Write a value in the unit that its key ends with; nested keys are written as words unless in `verbatim`."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_value(key, item) for item in value)
    if isinstance(value, dict):
        names = {inner: inner if inner in verbatim else _name(str(inner)) for inner in value}
        return ", ".join(f"{names[inner]} {_value(str(inner), item, verbatim)}" for inner, item in value.items())
    return _quantity(key, value) if isinstance(value, int | float) else portable(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}… (`record.json` has all)"


def _quantity(key: str, value: float) -> str:
    if key.endswith("_bytes"):
        return units.size(value)
    if key.endswith("_ns"):
        return units.time(value)
    return f"{value:.6g}" if isinstance(value, float) else f"{value}"
