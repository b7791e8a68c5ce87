"""What is measured for tests: each set of files once a session, as deep as the tests ask, whatever process asks first.

A pass leaves a run's folder in the session's: its report can be opened when the tests are done.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from pydantic import ValidationError

from kdbench import storage
from kdbench.errors import InputError, KdbenchError
from kdbench.progress import Progress
from kdbench.recipe import Measure
from kdbench.recipe.inputs import InputOptions
from kdbench.registry import suggestion
from kdbench.results.metrics import Metric, metric
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.validation import problem
from kdbench.workflows import bench

FEEDING = ("data_root", "download", "resize", "crop", "mean", "std", "scale", "output")
"""The options of `kdbench.bench` that say how models are fed; those of `Measure` say how they are measured."""
KEYWORDS = {*FEEDING, *Measure.model_fields}

_T = TypeVar("_T")


class Depth(IntEnum):
    """How much is measured: what is the files' own, the machine's times and memory too, its energy too."""

    FILES = 0
    TIMES = 1
    ENERGY = 2

    @classmethod
    def of(cls, wanted: Metric) -> "Depth":
        """Return how deep a pass must go to find a metric."""
        if not wanted.hardware_dependent:
            return cls.FILES
        return cls.ENERGY if metric(wanted.compares or wanted.id).metered else cls.TIMES


@dataclass(frozen=True)
class Files:
    """Model files that are measured side by side, the first being the reference; on what data, and how."""

    paths: tuple[Path, ...]
    data: str | None = None
    feeding: Mapping[str, Any] = field(default_factory=dict)
    measuring: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> InputOptions:
        """What the models are fed with; raises InputError for what is not possible."""
        try:
            return InputOptions(data=self.data, accuracy=self.data is not None, **self.feeding)
        except ValidationError as error:
            wrong = problem(error)
            raise InputError(wrong.message, wrong.hint) from None

    @property
    def student(self) -> str:
        """The id of the last file's model in a record of them all, as `bench` names it."""
        return bench.model_ids(self.paths)[-1]

    def options(self, depth: Depth) -> Measure:
        """Return the settings of a pass; raises InputError for those that are not possible."""
        given = {"energy": "quick" if depth is Depth.ENERGY else "off", **self.measuring}
        if given["energy"] == "off" and "energy" not in self.measuring:
            given.pop("country", None)  # it turns joules into CO₂e, and nobody asked for joules
        try:
            return Measure(**given)
        except ValidationError as error:
            wrong = problem(error)
            raise InputError(wrong.message, wrong.hint or "see the table [measure] of a recipe") from None

    def key(self, depth: Depth) -> str:
        """Return what tells this pass from others: contents of the files, data, and all that may move a number."""
        models = [[id_, *contents(path)] for id_, path in zip(self.ids, self.paths, strict=True)]
        return storage.content_hash([models, self.how(depth)])

    def how(self, depth: Depth) -> dict[str, Any]:
        """Return as JSON values how the files are measured: on what data, how fed, how exactly."""
        return {
            "data": [self.data, *_origin(self.data)],
            "feeding": {name: str(value) for name, value in sorted(self.feeding.items())},
            "options": self.options(depth).model_dump(mode="json") if depth else None,
        }

    @property
    def ids(self) -> list[str]:
        """The models' ids in a record of these files."""
        return bench.model_ids(self.paths)


@dataclass
class Passes:
    """The passes of a session, in `folder`; `progress` is told what is worth a line."""

    folder: Path
    progress: Progress
    _done: dict[str, tuple[RunRecord, Path]] = field(default_factory=dict)
    _failed: dict[str, KdbenchError] = field(default_factory=dict)
    _called: set[str] = field(default_factory=set)

    def record(self, files: Files, depth: Depth) -> tuple[RunRecord, Path]:
        """Return the record of a pass at least as deep as `depth`, and its folder; measured where it is not there yet.

        Raises KdbenchError for what cannot be measured, and the same one again if it is asked again.
        """
        for deeper in Depth:
            if deeper > depth and (known := self._known(files, deeper)):
                return known
        key = files.key(depth)
        self._done[key] = self.once(key, lambda: self._known(files, depth), lambda: self._measure(files, depth, key))
        return self._done[key]

    def once(self, key: str, known: Callable[[], _T | None], make: Callable[[], _T]) -> _T:
        """Return what is `known`, or `make` it where it is not; what raised a KdbenchError raises it again."""
        if key in self._failed:
            raise self._failed[key]
        storage.make_folder(self.folder)
        # Another of xdist's workers may be at it: whoever comes second finds it done.
        with FileLock(self.folder / f".{key[:12]}.lock"):
            try:
                found = known()
                return make() if found is None else found
            except KdbenchError as error:
                self._failed[key] = error
                raise

    def call_once(self, files: Files) -> None:
        """Call each of the models once, the first time that they are asked for; raises KdbenchError if it fails."""
        from kdbench.testing.smoke import call_once

        key = files.key(Depth.FILES)
        if key not in self._called:
            call_once(files)
            self._called.add(key)

    def _known(self, files: Files, depth: Depth) -> tuple[RunRecord, Path] | None:
        key = files.key(depth)
        folder = self._folder(files, key)
        if key not in self._done and RunFolder(folder).record.exists():
            self._done[key] = RunRecord.read(folder), folder
        return self._done.get(key)

    def _measure(self, files: Files, depth: Depth, key: str) -> tuple[RunRecord, Path]:
        # A model that cannot be run has a record that says so for each metric, so that a bound on it fails.
        results = bench.bench_models(
            files.paths,
            inputs=files.inputs,
            timed=depth > Depth.FILES,
            options=files.options(depth),
            out=self._folder(files, key),
            progress=self.progress,
            command="pytest --benchmark",
        )
        return results.record, results.folder.path

    def _folder(self, files: Files, key: str) -> Path:
        return self.folder / f"{'-'.join(files.ids)[:60]}-{key[:8]}"


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a test's options into how models are fed and how they are measured; raises InputError for unknown ones."""
    for name in options:
        if name not in KEYWORDS:
            raise InputError(f"unknown option {name!r}", suggestion(name, sorted(KEYWORDS)))
    feeding = {name: value for name, value in options.items() if name in FEEDING}
    for name in ("mean", "std"):
        if isinstance(value := feeding.get(name), int | float):
            feeding[name] = (float(value),)
    return feeding, {name: value for name, value in options.items() if name not in FEEDING}


def contents(path: Path) -> list[str]:
    """Return the hashes of a model's file, of its weights where torch wrote them beside it, and of its card.

    Of a run's folder, the hash of its record.
    """
    beside = (path.with_name(f"{path.name}.data"), path.with_suffix(".card.json"), RunFolder(path).record)
    return [storage.sha256(each) for each in (path, *beside) if each.is_file()]


def _origin(data: str | None) -> list[str | int]:
    """Return what tells a data set from another of its name: a file's size and time, else where sets are looked for."""
    if data is not None and data.startswith("npz:"):
        state = Path(data.removeprefix("npz:")).stat()
        return [state.st_size, state.st_mtime_ns]
    return [os.environ.get("KDBENCH_DATA", "")]
