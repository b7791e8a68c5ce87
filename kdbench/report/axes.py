"""At which provider, threads and batch the numbers of a record were taken, and how to say so."""

from collections.abc import Callable, Mapping, Sequence

from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, RunRecord

DEFAULT_BATCH = 128
_USUAL = {"runtime": "onnxruntime"}  # goes without saying in the axes

_WORDS: Mapping[str, Callable[[str | int], str]] = {
    "batch": lambda batch: f"batch {batch}",
    "threads": lambda threads: f"{threads} thread{'' if threads == 1 else 's'}",
    "provider": lambda provider: f"{provider} provider",
}


_OF_CALLS = ("mode", "gap_ms", "rate_per_s")
_CALLS: Mapping[str, Callable[[Axes], str]] = {
    "stream": lambda _: "back to back",
    "paced": lambda axes: f"{axes['gap_ms']} ms idle before each",
    "server": lambda axes: f"{axes['rate_per_s']} /s at random",
}
_ONE_CALL: Mapping[str, Callable[[Axes], str]] = {
    "paced": lambda axes: f"{axes['gap_ms']} ms idle before each call",
    "server": lambda axes: f"{axes['rate_per_s']} calls a second at random",
}


def in_words(axes: Axes, before: str = "") -> str:
    """Write axes as `batch 1, 1 thread, cpu provider`, `before` put in front; empty for no axes."""
    known = [write(axes[key]) for key, write in _WORDS.items() if key in axes]
    mode = str(axes.get("mode", ""))
    calls = [_ONE_CALL[mode](axes) if mode in _ONE_CALL else f"calls {mode}"] if mode else []
    others = [f"{key} {value}" for key, value in axes.items() if key not in {*_WORDS, *_OF_CALLS}]
    return f"{before}{', '.join([*known, *calls, *others])}" if axes else ""


def calls_in_words(axes: Axes) -> str:
    """Write how calls follow each other; without a word about it, they do so at once."""
    mode = str(axes.get("mode", "stream"))
    return _CALLS[mode](axes) if mode in _CALLS else mode


def swept(
    taken: Sequence[Axes], always: Sequence[str] = ("threads", "batch"), usual: Mapping[str, str] = _USUAL
) -> dict[str, Callable[[Axes], str]]:
    """Return what tells the configurations `taken` apart: the head of a column, and what to write in it.

    Axes that are `always` told have a column even where they do not differ; `usual` is what an axis is that is not
    named.
    """
    keys = [key for key in dict.fromkeys(key for axes in taken for key in axes) if key not in _OF_CALLS]
    differ = [key for key in keys if len({axes.get(key) for axes in taken}) > 1]
    columns: dict[str, Callable[[Axes], str]] = {
        key.capitalize(): lambda axes, key=key: str(axes.get(key, usual.get(key, "–")))  # type: ignore[misc]
        for key in keys
        if key in always or key in differ
    }
    if len({calls_in_words(axes) for axes in taken}) > 1:
        columns["Calls"] = calls_in_words
    return columns


def runtime_of(axes: Axes) -> str:
    """Return the name of the runtime that measured at `axes`; the usual one goes without saying there."""
    return str(axes.get("runtime", _USUAL["runtime"]))


def shared(taken: Sequence[Axes], columns: Mapping[str, object]) -> dict[str, str | int]:
    """Return the axes that all the configurations `taken` have in common and no column of `swept` tells."""
    told = {*(head.lower() for head in columns), *(_OF_CALLS if "Calls" in columns else ())}
    return {key: axes[key] for axes in taken[:1] for key in axes if key not in told}


def configurations(record: RunRecord) -> list[dict[str, str | int]]:
    """Return the axes at which latency was taken, each once: the usual way of calling first, then by threads and batch.

    A latency without axes, such as one that could not be taken at all, is no configuration beside those that have.
    """
    called = [m for m in record.measurements if m.metric in metrics_in("latency", "throughput")]
    found = [m.axes for m in called if m.axes.get("mode") != "offline"]  # a table of its own
    taken = [axes for axes in found if axes] or found
    unique = [axes for index, axes in enumerate(taken) if axes not in taken[:index]]
    return sorted(unique, key=_reading_order)


def headline(record: RunRecord) -> dict[str, str | int]:
    """Return the axes of the headline latency: batch 1 and the fewest threads, or the nearest there is to that."""
    taken = configurations(record)
    single = [axes for axes in taken if axes.get("batch") == 1]
    return dict((single or taken or [{}])[0])


def batched_axes(record: RunRecord) -> Axes:
    """Return the axes of the batched speed-up: the headline's, at the largest batch with a number; or none."""
    axes = headline(record)
    taken = [
        (pair.value is not None, batch)
        for pair in record.pairs
        if pair.metric == "latency_ratio" and isinstance(batch := pair.axes.get("batch"), int)
        if batch != axes.get("batch")
    ]
    return {**axes, "batch": max(taken)[1]} if taken else {}


def protocol_batch(record: RunRecord) -> int:
    """Return the batch of the MACs column: the largest that was asked for."""
    batch = record.protocol.get("batch", DEFAULT_BATCH)
    sizes = [size for size in (batch if isinstance(batch, list) else [batch]) if isinstance(size, int)]
    return max(sizes, default=DEFAULT_BATCH)


def _reading_order(axes: Axes) -> tuple[str | int, ...]:
    named = (str(axes.get(key, "")) for key in ("provider", "runtime", "mode"))
    return (*named, _int(axes, "threads"), _int(axes, "batch"))


def _int(axes: Axes, key: str) -> int:
    value = axes.get(key, 0)
    return value if isinstance(value, int) else 0
