"""The state that a test shares with its session: settings, paths, records, results; and how errors end a test."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest

from kdbench.characters import for_log
from kdbench.errors import InputError, KdbenchError
from kdbench.files.nearby import nearest_path
from kdbench.files.storage import with_home
from kdbench.results.records import Measurement, Pair
from kdbench.results.run_folder import RunFolder
from kdbench.testing.benchmarks import TerminalNotes, call_times
from kdbench.testing.check_results import PROPERTY, CheckResult
from kdbench.testing.records import KEYWORDS, BenchFiles, Depth, SessionRecords, split_options
from kdbench.testing.settings import OPTIONS, Settings
from kdbench.user_input.hints import OPTION_IN_TEXT

_P = ParamSpec("_P")
_T = TypeVar("_T")
_NAMED_BY_PATH = {"folder", "npz"}  # prefixes of data sets
_SWITCHES = {"download", "remeasure"}
_OF_PYTEST = {option.name for option in OPTIONS}
_OF_CALLS = {*KEYWORDS, "data", "teacher", "metrics", "thresholds", "remeasure"}
_KEYWORDS_OF = {"metric": "metrics", "threshold": "thresholds"}


@dataclass
class Context:
    """One test: its settings, the session's measurements, and the results of its checks.

    `records` are the folder names of the checked records, `seconds` the call times of the first model whose times were
    checked.
    """

    item: pytest.Item
    settings: Settings
    measured: SessionRecords
    results: list[CheckResult] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, item: pytest.Item) -> "Context":
        """Return the context of a test."""
        settings = Settings.of(item.config)
        records = item.config.stash.setdefault(_RECORDS, SessionRecords(settings.session, TerminalNotes(item.config)))
        # A test that is repeated still has the results of its previous run.
        item.user_properties[:] = [it for it in item.user_properties if it[0] != PROPERTY]
        return cls(item, settings, records)

    def files(self, names: list[str | Path], data: str | None, options: dict[str, Any]) -> BenchFiles:
        """Return model files with the options of a test, which override those of the session."""
        inputs, measure = split_options(options)
        if root := inputs.get("data_root"):
            inputs["data_root"] = str(self.find(root, "folder of data sets"))
        paths = tuple(self.find(name, "model") for name in names)
        files = BenchFiles(paths, self._data(data), inputs, {**self.settings.measure, **measure})
        _ = files.options(Depth.ENERGY), files.inputs  # raises InputError for options that are not possible
        if paths and not self.settings.judged:
            self.measured.call_once(files)
        return files

    def find(self, name: str | Path, kind: str) -> Path:
        """Return the file or folder `name`, relative to the test file's folder or else to the project's root.

        Raises InputError, which calls it `kind`, if there is none.
        """
        path = with_home(name)
        candidates = [path] if path.is_absolute() else [self.item.path.parent / path, self.settings.root / path]
        existing = next((candidate for candidate in candidates if candidate.exists()), None)
        if existing is None:
            folders = " nor in ".join(dict.fromkeys(str(candidate.parent) for candidate in candidates))
            near = (nearest_path(one, lambda other: other.suffix == path.suffix) for one in candidates)
            meant = next(filter(None, near), None)
            hint = f"name an existing {kind}" if meant is None else f"did you mean {str(meant)!r}?"
            raise InputError(f"there is no {kind} {path.name} in {folders}", hint)
        return existing

    def _data(self, name: str | None) -> str | None:
        """Return the name of a data set, with an absolute path if it is named by its path."""
        prefix, colon, path = (name or "").partition(":")
        return f"{prefix}:{self.find(path, 'data set')}" if colon and prefix in _NAMED_BY_PATH else name

    def note_measurement(self, folder: Path, measurement: Measurement | Pair, model: str) -> None:
        """Remember the record of a checked measurement, and the call times of the first timed one."""
        if folder.name not in self.records:
            self.records.append(folder.name)
        if not self.seconds and measurement.metric.startswith(("latency_", "throughput_")):
            from kdbench.results.samples import read_samples

            self.seconds = call_times(read_samples(RunFolder(folder).samples), model, measurement.axes)

    def add_results(self, *results: CheckResult) -> None:
        """Add results of checks to the test's report and to the session's summary."""
        self.results += results
        self.item.user_properties += [result.to_property() for result in results]

    def judge(self, result: CheckResult) -> None:
        """Add the result of a check, and end the test if it did not pass."""
        __tracebackhide__ = True
        self.add_results(result)
        if not result.passed:
            pytest.fail(result.message, pytrace=False)


_RECORDS = pytest.StashKey[SessionRecords]()


def fails_test(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return `work` so that a KdbenchError in it fails the test with message and hint, without kdbench's traceback."""

    @wraps(work)
    def guarded(*arguments: _P.args, **options: _P.kwargs) -> _T:
        __tracebackhide__ = True
        try:
            return work(*arguments, **options)
        except KdbenchError as error:
            message = f"{error.message}\nhint: {as_test_options(error.hint)}" if error.hint else error.message
        pytest.fail(for_log(message), pytrace=False)  # outside the handler: pytest would show the handled error

    return guarded


def as_test_options(hint: str) -> str:
    """Return a hint with the command line's options replaced by pytest's options or by keywords of the calls.

    `--budget` becomes `--kdbench-budget`, `--remeasure` becomes `remeasure=True`.
    """
    return OPTION_IN_TEXT.sub(_as_test_option, hint)


def _as_test_option(match: re.Match[str]) -> str:
    if match[1] in _OF_PYTEST:
        return f"--kdbench-{match[1]}{match[2]}"
    name = match[1].replace("-", "_")
    keyword = _KEYWORDS_OF.get(name, name)
    if keyword not in _OF_CALLS:
        return match[0]
    return f"{keyword}={'True' if keyword in _SWITCHES else ''}"
