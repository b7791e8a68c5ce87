"""The axes of a record's numbers (provider, threads, batch), and how a report writes them."""

from collections.abc import Callable, Collection, Mapping, Sequence

from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, RunRecord
from kdbench.results.records.index import once_per_record
from kdbench.results.runtimes import USUAL_RUNTIME

DEFAULT_BATCH = 128
_DEFAULTS: Mapping[str, str] = {"runtime": USUAL_RUNTIME}  # not written in the axes

_FORMATS: Mapping[str, Callable[[str | int], str]] = {
    "batch": lambda batch: f"batch {batch}",
    "threads": lambda threads: f"{threads} thread{'' if threads == 1 else 's'}",
    "provider": lambda provider: f"{provider} provider",
}
_CALL_AXES = ("mode", "gap_ms", "rate_per_s")
# By mode: how calls follow each other, in a column of its own and within a sentence.
_CALLS: Mapping[str, Callable[[Axes], tuple[str, str]]] = {
    "stream": lambda _: ("back to back", "calls stream"),
    "paced": lambda axes: (f"{axes['gap_ms']} ms idle before each", f"{axes['gap_ms']} ms idle before each call"),
    "server": lambda axes: (f"{axes['rate_per_s']} /s at random", f"{axes['rate_per_s']} calls per second at random"),
    "sustained": lambda _: ("sustained load, last third", "the last third of a sustained load"),
    "first-minute": lambda _: ("sustained load, first minute", "the first minute of a sustained load"),
}


def format_axes(axes: Axes, prefix: str = "") -> str:
    """Write axes as `batch 1, 1 thread, cpu provider` after `prefix`; empty for no axes."""
    known = [write(axes[key]) for key, write in _FORMATS.items() if key in axes]
    mode = str(axes.get("mode", ""))
    calls = [_CALLS[mode](axes)[1] if mode in _CALLS else f"calls {mode}"] if mode else []
    others = [f"{key} {value}" for key, value in axes.items() if key not in {*_FORMATS, *_CALL_AXES}]
    return f"{prefix}{', '.join([*known, *calls, *others])}" if axes else ""


def format_calls(axes: Axes) -> str:
    """Write how calls follow each other; back to back if the axes have no mode."""
    mode = str(axes.get("mode", "stream"))
    return _CALLS[mode](axes)[0] if mode in _CALLS else mode


def axes_columns(
    configurations: Sequence[Axes],
    always: Sequence[str] = ("threads", "batch"),
    defaults: Mapping[str, str] = _DEFAULTS,
) -> dict[str, Callable[[Axes], str]]:
    """Return the columns that distinguish `configurations`: head and cell text.

    Axes in `always` have a column even if they do not vary; `defaults` are the values of absent axes.
    """
    keys = [key for key in dict.fromkeys(key for axes in configurations for key in axes) if key not in _CALL_AXES]
    varying = [key for key in keys if len({axes.get(key) for axes in configurations}) > 1]
    columns: dict[str, Callable[[Axes], str]] = {
        key.capitalize(): lambda axes, key=key: str(axes.get(key, defaults.get(key, "–")))  # type: ignore[misc]
        for key in keys
        if key in always or key in varying
    }
    if len({format_calls(axes) for axes in configurations}) > 1:
        columns["Calls"] = format_calls
    return columns


def common_axes(configurations: Sequence[Axes], columns: Collection[str]) -> dict[str, str | int]:
    """Return the axes that all `configurations` share and that have none of `axes_columns`."""
    shown = {*(head.lower() for head in columns), *(_CALL_AXES if "Calls" in columns else ())}
    return {key: axes[key] for axes in configurations[:1] for key in axes if key not in shown}


def unique(all_axes: Sequence[Axes]) -> list[Axes]:
    """Return the different axes among `all_axes`, in order."""
    different: dict[frozenset[tuple[str, str | int]], Axes] = {}
    for axes in all_axes:
        different.setdefault(frozenset(axes.items()), axes)
    return list(different.values())


@once_per_record
def configurations(record: RunRecord) -> list[Axes]:
    """Return the axes of the latencies, each once: back-to-back calls first, then by threads and batch.

    A latency without axes, such as one that could not be measured, counts only if no other has axes.
    """
    calls = record.measurement_index.having(*metrics_in("latency", "throughput"))
    all_axes = [m.axes for m in calls if m.axes.get("mode") != "offline"]  # offline has a table of its own
    return sorted(unique([axes for axes in all_axes if axes] or all_axes), key=_reading_order)


def headline(record: RunRecord) -> dict[str, str | int]:
    """Return the axes of the headline latency: batch 1 and the fewest threads, or the nearest to that."""
    measured = configurations(record)
    single = [axes for axes in measured if axes.get("batch") == 1]
    return dict((single or measured or [{}])[0])


@once_per_record
def batched_axes(record: RunRecord) -> Axes:
    """Return the axes of the batched speed-up: the headline's, at the largest batch with a number; or none."""
    axes = headline(record)
    batches = [
        (pair.value is not None, batch)
        for pair in record.pairs
        if pair.metric == "latency_ratio" and isinstance(batch := pair.axes.get("batch"), int)
        if batch != axes.get("batch")
    ]
    return {**axes, "batch": max(batches)[1]} if batches else {}


def headlines(record: RunRecord) -> list[Axes]:
    """Return the axes that the table of ratios shows: the headline's, then the batched ones if there are any."""
    return [axes for axes in (headline(record), batched_axes(record)) if axes]


def protocol_batch(record: RunRecord) -> int:
    """Return the batch of the MACs column: the largest that was requested."""
    batch = record.protocol.get("batch", DEFAULT_BATCH)
    sizes = [size for size in (batch if isinstance(batch, list) else [batch]) if isinstance(size, int)]
    return max(sizes, default=DEFAULT_BATCH)


def _reading_order(axes: Axes) -> tuple[str | int, ...]:
    named = (str(axes.get(key, "")) for key in ("provider", "runtime", "mode"))
    counts = (value if isinstance(value := axes.get(key, 0), int) else 0 for key in ("threads", "batch"))
    return (*named, *counts)
