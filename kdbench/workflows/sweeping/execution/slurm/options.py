"""The options of `--on slurm:KEY=VALUE,…` and `--measure-on`: where jobs run, and their limits."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kdbench import units
from kdbench.errors import InputError

_PLACES = ("partition", "account", "qos", "constraint")
_LIMITS = ("time", "mem", "jobs")
_KNOWN = f"known: {', '.join((*_PLACES, *_LIMITS))}, as in --on slurm:partition=cpu,time=4h,mem=8GB"
_MEASURING = ("constraint", "partition", "nodelist")
_DEFAULTS = ("partition", "account", "qos")  # sbatch also reads them from SBATCH_…
_TIME_S, _JOBS, _MAX_JOBS = 3600.0, 32, 10_000
_VALUE = re.compile(r"[\w.:@/+&|*()\[\]-]+", re.ASCII)


@dataclass(frozen=True)
class Options:
    """Where jobs run (`places`, by sbatch's options), and the limits of each.

    `measuring` replaces `places` for measurements; empty if no nodes to measure on are named. At most `jobs` jobs are
    in Slurm's queue at once.
    """

    places: Mapping[str, str] = field(default_factory=dict)
    measuring: Mapping[str, str] = field(default_factory=dict)
    time_min: int = int(_TIME_S / 60)
    memory_mb: int | None = None
    jobs: int = _JOBS


def options_of(on: str, measure_on: str | None) -> Options:
    """Read `slurm` or `slurm:KEY=VALUE,…`, and where to measure; raises InputError for invalid options."""
    texts: dict[str, str] = {}
    for item in filter(None, on.partition(":")[2].split(",")):
        key, sign, value = item.partition("=")
        if not sign or key not in (*_PLACES, *_LIMITS) or (key in _PLACES and not _VALUE.fullmatch(value)):
            raise InputError(f"--on {on}: {item!r} is no option of a job", _KNOWN)
        texts[key] = value
    defaults = {key: os.environ.get(f"SBATCH_{key.upper()}", "") for key in _DEFAULTS}
    places = {key: text for key in _PLACES if (text := texts.get(key) or defaults.get(key))}
    memory = texts.get("mem")
    return Options(
        places=places,
        measuring={} if measure_on is None else {**places, **_measuring(measure_on)},
        time_min=math.ceil(_quantity(on, "time", texts.get("time", f"{_TIME_S:.0f}"), "s") / 60),
        memory_mb=None if memory is None else math.ceil(_quantity(on, "mem", memory, "bytes") / 1e6),
        jobs=_count(on, texts.get("jobs", str(_JOBS))),
    )


def _measuring(label: str) -> Mapping[str, str]:
    key, sign, value = label.partition("=")
    if not sign:
        key, value = "constraint", label
    if key not in _MEASURING or not _VALUE.fullmatch(value):
        hint = "name a feature of nodes, or constraint=…, partition=… or nodelist=…"
        raise InputError(f"--measure-on {label} names no nodes of Slurm", hint)
    return {key: value}


def _quantity(on: str, key: str, text: str, unit: str) -> float:
    try:
        value = units.parse(text, unit)
    except ValueError as error:
        raise InputError(f"--on {on}: {key}: {error}", _KNOWN) from error
    if value <= 0:
        raise InputError(f"--on {on}: {key} has to be more than 0", _KNOWN)
    return value


def _count(on: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MAX_JOBS:
        raise InputError(f"--on {on}: jobs is a number from 1 to {_MAX_JOBS:,}", _KNOWN)
    return int(text)
