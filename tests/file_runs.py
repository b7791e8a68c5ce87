"""Runs of model files with flat keywords: more of `bench_models` than `kdbench.bench` offers, such as `timed`."""

from pathlib import Path
from typing import Any

from kdbench.recipe import InputOptions
from kdbench.results.records import RunRecord
from kdbench.user_input.validation import validated
from kdbench.workflows.bench import bench_models


def bench(paths=(), **keywords: Any) -> tuple[RunRecord, Path]:
    """Return the record and the folder of a run; keywords are fields of `InputOptions` and those of `bench_models`."""
    inputs = {name: keywords.pop(name) for name in InputOptions.model_fields if name in keywords}
    results = bench_models(paths, inputs=validated(InputOptions, inputs), **keywords)
    results.raise_on_failed_models()
    return results.record, results.folder.path
