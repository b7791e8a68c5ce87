"""Compare two records of the same inputs in everything that does not depend on time.

    python tests/tools/compare_records.py BASE NEW [--loss-tolerance 1e-6]

BASE and NEW are runs' folders or `record.json` files. The comparison covers the schema, the recipe, the protocol, the
cards, the measurements, the pairs, the layers and the warnings that do not depend on load. It ignores what the clock
and the machine's load decide: values of hardware-dependent metrics, numbers of calls, whether such a value is stable
enough, which batches the offline sweep reached, training seconds and joules.

Exit codes: 0 the records agree, 1 they differ (one line per difference), 3 a record cannot be read.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.results.records import RunRecord

# A stable machine or a longer budget turns one of these into another.
_TIMED_STATUSES = {"ok", "unstable", "below_resolution"}
# A percentile far in the tail is unavailable until there are enough calls.
_PERCENTILES = {"latency_p90_ns", "latency_p95_ns", "latency_p99_ns"}
# These metrics count as many calls or windows as fit into the budget.
_COUNTED_BY_TIME = {
    *_PERCENTILES, "latency_p50_ns", "latency_mean_ns", "throughput_per_s", "max_throughput_per_s", "latency_ratio",
    "throughput_ratio", "energy_j", "energy_net_j", "energy_run_j", "co2_g", "energy_ratio",
}  # fmt: skip
_TIMED_PROTOCOL = {
    "runtime_import_ns", "memory_before_the_model_bytes", "warm_up_calls", "floor_ns", "sessions_taken", "latency_s",
    "offline_s", "cores_used", "widest_interval", "stopped", "meanwhile", "profiled_calls", "profile_overhead",
}  # fmt: skip
_TIMED_TRAINING = {"seconds", "teacher_s", "energy"}
_TIMED_LAYER = {"time_ns", "time_share", "reason"}
_LOSSES = {"train_loss", "validation_loss"}
# All other warnings come and go with the machine's load.
_STEADY_WARNINGS = {"denormal_weights", "no_profile", "parity_failed", "probabilities", "quantized"}
# These sentences may be worded anew; whether they are there is compared.
_PROSE = {"reason", "hint", "unmetered"}

_Json = Any


def compare(base: Mapping[str, _Json], new: Mapping[str, _Json], *, loss_tolerance: float = 0.0) -> list[str]:
    """Return the differences between two records (JSON values of `record.json`), one line each.

    `loss_tolerance` is the largest relative difference allowed between losses of training curves.
    """
    plain = ("schema", "kind", "name", "title", "recipe", "recipe_hash")
    return [
        *_keys("record", base, new),
        *(line for key in plain for line in _values(key, base.get(key), new.get(key))),
        *_protocol(base["protocol"], new["protocol"]),
        *_cards(base["models"], new["models"], loss_tolerance),
        *_findings("measurement", _measurements(base), _measurements(new)),
        *_findings("pair", _pairs(base), _pairs(new)),
        *_layers(base.get("layers", []), new.get("layers", [])),
        *_warnings(base["warnings"], new["warnings"]),
    ]


def _keys(what: str, base: Mapping[str, _Json], new: Mapping[str, _Json]) -> Iterator[str]:
    for key in base.keys() - new.keys():
        yield f"{what}: {key} is missing in NEW"
    for key in new.keys() - base.keys():
        yield f"{what}: {key} is missing in BASE"


def _values(what: str, base: _Json, new: _Json) -> Iterator[str]:
    """Compare two JSON values, down to the leaves."""
    if isinstance(base, dict) and isinstance(new, dict):
        yield from _keys(what, base, new)
        for key in base.keys() & new.keys():
            yield from _values(f"{what}.{key}", base[key], new[key])
    elif isinstance(base, list) and isinstance(new, list) and len(base) == len(new):
        for index, (old_item, new_item) in enumerate(zip(base, new, strict=True)):
            yield from _values(f"{what}[{index}]", old_item, new_item)
    elif base != new or type(base) is not type(new):
        yield f"{what}: {base!r} != {new!r}"


def _protocol(base: Mapping[str, _Json], new: Mapping[str, _Json]) -> Iterator[str]:
    yield from _keys("protocol", base, new)
    for key in sorted((base.keys() & new.keys()) - _TIMED_PROTOCOL):
        yield from _values(f"protocol.{key}", base[key], new[key])


def _cards(base: list[_Json], new: list[_Json], loss_tolerance: float) -> Iterator[str]:
    order, new_order = ([card["id"] for card in cards] for cards in (base, new))
    if order != new_order:
        yield f"models: {order} != {new_order}"
    by_id = {card["id"]: card for card in new}
    for card in base:
        if other := by_id.get(card["id"]):
            what = f"model {card['id']}"
            yield from _values(what, {**card, "training": None}, {**other, "training": None})
            yield from _training(f"{what}.training", card["training"], other["training"], loss_tolerance)


def _training(what: str, base: _Json, new: _Json, loss_tolerance: float) -> Iterator[str]:
    if base is None or new is None:
        yield from _values(what, base, new)
        return
    yield from _keys(what, base, new)
    for key in sorted((base.keys() & new.keys()) - _TIMED_TRAINING - {"curve"}):
        if key in _PROSE:
            yield from _values(f"{what}: has {key}", bool(base[key]), bool(new[key]))
        else:
            yield from _values(f"{what}.{key}", base[key], new[key])
    meters, new_meters = ([{**use, "energy_j": 0, "half_width_j": 0} for use in side["energy"]] for side in (base, new))
    yield from _values(f"{what}.energy", meters, new_meters)
    if len(base["curve"]) != len(new["curve"]):
        yield f"{what}.curve: {len(base['curve'])} epochs != {len(new['curve'])}"
        return
    for epoch, other in zip(base["curve"], new["curve"], strict=True):
        yield from _epoch(f"{what}.curve epoch {epoch['epoch']}", epoch, other, loss_tolerance)


def _epoch(what: str, base: Mapping[str, _Json], new: Mapping[str, _Json], loss_tolerance: float) -> Iterator[str]:
    yield from _keys(what, base, new)
    for key in sorted((base.keys() & new.keys()) - _TIMED_TRAINING):
        close = key in _LOSSES and abs(base[key] - new[key]) <= loss_tolerance * abs(base[key])
        if not close:
            yield from _values(f"{what}.{key}", base[key], new[key])


def _axes(axes: Mapping[str, _Json]) -> str:
    return ", ".join(f"{name}={axes[name]}" for name in sorted(axes))


def _measurements(record: Mapping[str, _Json]) -> Iterator[tuple[str, _Json]]:
    """Yield measurements by their names, but for the batches of the offline sweep, which time chooses."""
    for measurement in record["measurements"]:
        axes = measurement["axes"]
        if not (axes.get("mode") == "offline" and "batch" in axes):
            yield f"{measurement['model']} {measurement['metric']} ({_axes(axes)})", measurement


def _pairs(record: Mapping[str, _Json]) -> Iterator[tuple[str, _Json]]:
    for pair in record["pairs"]:
        yield f"{pair['teacher']} -> {pair['student']} {pair['metric']} ({_axes(pair['axes'])})", pair


def _findings(what: str, base: Iterator[tuple[str, _Json]], new: Iterator[tuple[str, _Json]]) -> Iterator[str]:
    """Compare measurements, or pairs, by their names."""
    base_items, new_items = list(base), list(new)
    base_by_name, new_by_name = dict(base_items), dict(new_items)
    for side, items, by_name in (("BASE", base_items, base_by_name), ("NEW", new_items, new_by_name)):
        if len(items) != len(by_name):
            yield f"{what}: {side} has {len(items) - len(by_name)} duplicates"
    for name in base_by_name.keys() - new_by_name.keys():
        yield f"{what} {name}: missing in NEW"
    for name in new_by_name.keys() - base_by_name.keys():
        yield f"{what} {name}: missing in BASE"
    for name in base_by_name.keys() & new_by_name.keys():
        yield from _finding(f"{what} {name}", base_by_name[name], new_by_name[name])


def _finding(what: str, base: Mapping[str, _Json], new: Mapping[str, _Json]) -> Iterator[str]:
    yield from _keys(what, base, new)
    metric = METRICS.get(base["metric"]) or PAIR_METRICS.get(base["metric"])
    timed = metric is not None and metric.hardware_dependent
    if not (timed and _timed_status(base, new)):
        yield from _values(f"{what}.status", base["status"], new["status"])
    ignored = {"metric", "axes", "status", *_PROSE}
    if timed:
        ignored |= {"value", "interval", "source"}
        if base["value"] is not None and new["value"] is not None:
            yield from _values(f"{what}: instrument", _instrument(base), _instrument(new))
    if base["metric"] in _COUNTED_BY_TIME:
        ignored.add("n")
    for key in sorted((base.keys() & new.keys()) - ignored):
        yield from _values(f"{what}.{key}", base[key], new[key])
    if not timed:
        for key in sorted(_PROSE & base.keys() & new.keys()):
            yield from _values(f"{what}: has {key}", bool(base[key]), bool(new[key]))


def _timed_status(base: Mapping[str, _Json], new: Mapping[str, _Json]) -> bool:
    tolerated = set(_TIMED_STATUSES)
    if base["metric"] in _PERCENTILES:
        tolerated.add("unavailable")
    if base["axes"].get("mode") == "server":
        tolerated.add("invalid")  # a busy machine cannot keep up with the arrivals
    return base["status"] in tolerated and new["status"] in tolerated


def _instrument(finding: Mapping[str, _Json]) -> str:
    """Return the name of the instrument; how many sessions and calls follow it depends on time."""
    return (finding.get("source") or "").partition(",")[0]


def _layers(base: list[_Json], new: list[_Json]) -> Iterator[str]:
    steady, new_steady = (
        [{key: value for key, value in layer.items() if key not in _TIMED_LAYER} for layer in layers]
        for layers in (base, new)
    )
    if len(steady) != len(new_steady):
        yield f"layers: {len(steady)} != {len(new_steady)}"
    else:
        yield from _values("layers", steady, new_steady)


def _warnings(base: list[_Json], new: list[_Json]) -> Iterator[str]:
    steady, new_steady = (
        {(warning["code"], warning["model"]) for warning in warnings if warning["code"] in _STEADY_WARNINGS}
        for warnings in (base, new)
    )
    for side, missing in (("NEW", steady - new_steady), ("BASE", new_steady - steady)):
        for code, model in sorted(missing, key=str):
            yield f"warning {code} of {model}: missing in {side}"


def _read(path: Path) -> dict[str, _Json]:
    """Read a record as it is written; raises KdbenchError where this kdbench does not accept it."""
    RunRecord.read(path)
    file = path / "record.json" if path.is_dir() else path
    return json.loads(file.read_text(encoding="utf-8"))


def main(arguments: list[str] | None = None) -> int:
    """Compare the records that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, metavar="BASE")
    parser.add_argument("new", type=Path, metavar="NEW")
    parser.add_argument(
        "--loss-tolerance", type=float, default=0.0, help="relative, of training curves; default: exact"
    )
    options = parser.parse_args(arguments)
    try:
        base, new = _read(options.base), _read(options.new)
    except KdbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    differences = compare(base, new, loss_tolerance=options.loss_tolerance)
    print("\n".join(sorted(differences)) or "the records agree")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
