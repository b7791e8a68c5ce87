"""How the numbers came about and how to read them, from the record's own protocol."""

from collections.abc import Container
from typing import Any

from kdbench import units
from kdbench.report.metering import energies
from kdbench.report.portable import portable
from kdbench.results.metrics import METRICS, PAIR_METRICS, Metric
from kdbench.results.records import RunRecord

_UNITS = {"_per_s": "1/s", "_ms": "ms", "_s": "s", "_w": "W", "_per_kwh": "per kWh"}  # endings of keys, told in words


def notes(record: RunRecord) -> list[str]:
    """Return the rules for reading the report's numbers, one sentence or two each."""
    levels = {f.interval.level for f in (*record.measurements, *record.pairs) if f.interval is not None}
    level = " or ".join(f"{100 * level:g} %" for level in sorted(levels)) or "95 %"
    n = next((m.n for m in record.measurements if m.metric == "top1" and m.n and not m.axes), None)
    return [
        (
            f"`[low, high]` is a confidence interval at {level}. Of an accuracy it covers the choice of test samples"
            f"{f' (n = {n:,})' if n else ''}; of several seeds, the choice of seed; of a time or a speed-up, the "
            f"choice of sessions and blocks{_beyond(record)}."
        ),
        (
            "Latency is sampled in sessions, each a fresh process, in which the models take turns in short blocks"
            f"{_sampling(record)}. Speed-ups are estimated from blocks taken side by side, not as a quotient of two "
            "separate averages."
        ),
        (
            "One multiply–accumulate counts as one MAC, of convolutions, linear layers and matrix products; bias, "
            "normalisation, activation and pooling are not counted."
        ),
        *_energy(record),
        (
            "`n/a` means that there is no number, and why; nothing is filled in. An unstable number is shown but "
            "satisfies no gate. `~` marks an estimate, which is never ranked against a measurement."
        ),
        "Sizes have decimal prefixes: 1 MB is 1,000,000 bytes.",
    ]


def glossary(record: RunRecord) -> list[Metric]:
    """Return the metrics that the record has, in the order of their declaration."""
    used = {finding.metric for finding in (*record.measurements, *record.pairs)}
    return [metric for metric in (*METRICS.values(), *PAIR_METRICS.values()) if metric.id in used]


def environment(record: RunRecord) -> list[tuple[str, str]]:
    """Return machine, software and protocol as pairs of a name and a value in words."""
    known = record.environment
    git = f"{known.git_commit}{' (with local changes)' if known.git_dirty else ''}" if known.git_commit else "unknown"
    return [
        *((_name(key), _value(key, value)) for key, value in known.host.items()),
        *known.libraries.items(),
        ("git commit", git),
        *(
            (f"protocol: {_name(key)}", _value(key, value, verbatim=record.cards))
            for key, value in record.protocol.items()
            if value is not None  # not asked for
        ),
    ]


def _beyond(record: RunRecord) -> str:
    resolution = record.protocol.get("resolution")
    if not isinstance(resolution, float):
        return ""
    return f", and a standard error of {100 * resolution:g} % for what runs differ by though their sessions do not"


def _energy(record: RunRecord) -> list[str]:
    """Say how energies came about, and what their uncertainties hold; nothing where none was measured."""
    if not any(m.value is not None and m.evidence == "measured" for m in energies(record, "energy_j", "training_j")):
        return []
    note = (
        "Energy is read from the meter named with it, and is of that part of the machine alone. Models take turns in "
        "windows of many calls, and a model's number is the median of its windows; `±` is half of a 95 % interval, "
        "which holds the spread between windows, the meter's steps and, for net energy, what is not known of the idle "
        "power; how well a meter is calibrated, it cannot hold. Energy ratios are of windows of the same round."
    )
    return [note]


def _sampling(record: RunRecord) -> str:
    """Say how many sessions there were, and why not more."""
    told = record.protocol
    count = told.get("sessions_taken", told.get("sessions"))
    if count is None:
        return ""
    width, precision = told.get("widest_interval"), told.get("precision")
    if not isinstance(width, float) or not isinstance(precision, float):
        return f" ({count} sessions)"
    why = "then the budget was spent" if told.get("stopped") == "budget" else "then it was precise enough"
    asked = f"{100 * precision:g} % was asked for"
    return f" ({count} sessions: {why}; the widest headline interval is {100 * width:.1f} % of its number, {asked})"


def _name(key: str) -> str:
    for suffix in ("_bytes", "_ns"):
        key = key.removesuffix(suffix)
    for suffix, unit in _UNITS.items():
        if key.endswith(suffix):
            return f"{key.removesuffix(suffix)} ({unit})".replace("_", " ")
    return key.replace("_", " ")


def _value(key: str, value: Any, verbatim: Container[str] = ()) -> str:
    """Write a value by the unit its key ends with; keys within it are put in words, but for those `verbatim`."""
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


def _quantity(key: str, value: float) -> str:
    if key.endswith("_bytes"):
        return units.size(value)
    if key.endswith("_ns"):
        return units.time(value)
    return f"{value:.6g}" if isinstance(value, float) else f"{value}"
