"""The tables of a report, each a function from a record to a `Table`; `TABLES` lists them in reading order.

A new table is one function and one entry in `TABLES`. Tables hold numbers and sentences; `render` draws them.
They read records and nothing else; `figures`, `text`, `styles` and `render` import them.
"""

from collections.abc import Callable, Iterator

from kdbench.report.table import Table
from kdbench.report.tables.accuracy import calibration, label_noise, per_class
from kdbench.report.tables.closed_form import closed_form
from kdbench.report.tables.compression import compression, noise_by_layer
from kdbench.report.tables.costs import cost, start_and_memory
from kdbench.report.tables.deployed import deployed
from kdbench.report.tables.effects import effects
from kdbench.report.tables.energy import energy
from kdbench.report.tables.errors import errors
from kdbench.report.tables.fidelity import examples, fidelity, mismatches, risk_variance, train_against_test
from kdbench.report.tables.flips import flips
from kdbench.report.tables.front import front
from kdbench.report.tables.gains import gains
from kdbench.report.tables.inputs import inputs
from kdbench.report.tables.latency import latency, offline, speedups, time_by_layer, time_by_operator
from kdbench.report.tables.reported import reported
from kdbench.report.tables.runtimes import runtimes
from kdbench.report.tables.search import search
from kdbench.report.tables.summary import ratios, summary, variants
from kdbench.report.tables.training import sweeps, training
from kdbench.results.records import RunRecord

__all__ = ["TABLES", "build_tables"]

TABLES: tuple[Callable[[RunRecord], Table], ...] = (
    summary,
    search,
    ratios,
    variants,
    front,
    gains,
    reported,
    compression,
    noise_by_layer,
    sweeps,
    effects,
    errors,
    closed_form,
    flips,
    fidelity,
    train_against_test,
    calibration,
    per_class,
    label_noise,
    mismatches,
    examples,
    risk_variance,
    runtimes,
    deployed,
    latency,
    speedups,
    offline,
    energy,
    cost,
    start_and_memory,
    time_by_layer,
    time_by_operator,
    inputs,
    training,
)


def build_tables(record: RunRecord) -> Iterator[Table]:
    """Yield the tables with content, in reading order, each as it is built."""
    return (table for build in TABLES if (table := build(record)).shown)
