"""Records: the measurements of a run's models, and what they were measured with.

`measurement` has the single results, `record` the value on disk, `index` the search in it, `devices` the numbers that
came from devices. Imports the other values of `results`; those that build on records import it.
"""

from kdbench.results.records.measurement import (
    Axes,
    Interval,
    Layer,
    Measurement,
    Pair,
    Status,
    difference,
    measured,
    missing,
)
from kdbench.results.records.record import SCHEMA_VERSION, DeviceRun, Diagnostic, Environment, RunRecord, record_schema

__all__ = [
    "SCHEMA_VERSION",
    "Axes",
    "DeviceRun",
    "Diagnostic",
    "Environment",
    "Interval",
    "Layer",
    "Measurement",
    "Pair",
    "RunRecord",
    "Status",
    "difference",
    "measured",
    "missing",
    "record_schema",
]
