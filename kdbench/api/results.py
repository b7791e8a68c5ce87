"""The results of a run in a notebook or a script: numbers, tables, figures, and what a cell displays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from kdbench import extras
from kdbench.api.decisions import Verdict
from kdbench.api.display import ShownFigure, ShownTable, page
from kdbench.errors import InputError
from kdbench.judge.compare.matching import describe_axes
from kdbench.modelfile.formats.not_records import require_no_other_kind
from kdbench.registry import suggestion
from kdbench.report import Content
from kdbench.report.figures import FIGURES
from kdbench.report.tables import TABLES
from kdbench.results.records import Measurement, Pair, RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.user_input.arguments import checked

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = ("summary", "ratios")  # what a cell displays
_LISTED = 3  # places in a hint


@dataclass(frozen=True, eq=False)
class Results:
    """The results of a run. `bench`, `run` and `Study.run` return them, and `read` reads them again.

    `record` holds every number with its interval, `folder` is where record, reports and models are.

        >>> run = kdbench.Results.read("runs/digits")
        >>> run.models
        ('teacher', 'student')
        >>> run.find("student", "top1").value > 0.8
        True
        >>> run.ratio("student", "macs_ratio").value
        37.0
        >>> run.record.name, run.folder.name, run.verdicts
        ('bench', 'digits', ())

    It unpacks to the record and the folder: `record, folder = kdbench.run("digits")`.
    """

    content: Content
    folder: Path

    @classmethod
    @checked
    def read(cls, run: str | Path) -> Self:
        """Return the results in a run's folder, or of its record.json; raises InputError without a valid record.

        >>> kdbench.Results.read("runs/digits").record.name
        'bench'
        """
        require_no_other_kind(Path(run))
        return cls(Content.read(run), RunFolder.of(run).path)

    @property
    def record(self) -> RunRecord:
        """The record of the run, as in record.json."""
        return self.content.record

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts on the run's targets."""
        return tuple(map(Verdict.of, self.content.verdicts))

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models."""
        return tuple(self.record.cards)

    @checked
    def find(self, model: str, metric: str, **axes: str | int) -> Measurement:
        """Return the measurement of a metric of a model: value, interval, unit and status.

            >>> run = kdbench.Results.read("runs/digits")
            >>> run.find("teacher", "macs").value
            23680.0

        `axes`, such as `batch=128`, select one of several measurements; of those that match, the result has the fewest
        further axes. A number that could not be measured has the value None and a `reason`. Raises InputError if the
        record has no such number.
        """
        self._require(model)
        measurement = self.record.find(model, metric, **axes)
        if measurement is None:
            known = [(one.metric, one.axes) for one in self.record.measurements if one.model == model]
            raise InputError(
                f"the record has no {metric!r} of {model}{describe_axes(axes)}", _known(metric, axes, known)
            )
        return measurement

    @checked
    def ratio(self, student: str, metric: str = "latency_ratio", **axes: str | int) -> Pair:
        """Return a student's ratio to its teacher (teacher over student), or another metric of the pair.

            >>> run = kdbench.Results.read("runs/digits")
            >>> run.ratio("student", "macs_ratio").teacher
            'teacher'

        Raises InputError if the record has no such pair.
        """
        self._require(student)
        pair = self.record.find_pair(student, metric, **axes)
        if pair is None:
            known = [(one.metric, one.axes) for one in self.record.pairs if one.student == student]
            otherwise = None if known else f"{student} is compared with no teacher: choose another model"
            hint = _known(metric, axes, known, otherwise)
            raise InputError(f"the record has no {metric!r} of {student}{describe_axes(axes)}", hint)
        return pair

    @checked
    def to_frame(self, kind: Literal["measurements", "pairs", "layers"] = "measurements") -> "pd.DataFrame":
        """Return all numbers of a kind as a pandas DataFrame: one row per number, one column per axis.

            >>> frame = kdbench.Results.read("runs/digits").to_frame()
            >>> frame[frame.metric == "macs"][["model", "value"]].values.tolist()
            [['teacher', 23680.0], ['student', 640.0]]

        Raises MissingExtraError without pandas.
        """
        extras.require("notebook", "to_frame")
        import pandas as pd

        if kind not in {"measurements", "pairs", "layers"}:
            raise InputError(f"a record has no {kind!r}", "choose measurements, pairs or layers")
        return pd.DataFrame([_row(result.model_dump()) for result in getattr(self.record, kind)])

    @checked
    def table(self, name: str = "summary") -> ShownTable:
        """Return one of the report's tables, such as summary, ratios, latency or fidelity; print it, or display it.

            >>> str(kdbench.Results.read("runs/digits").table("ratios")).splitlines()[2][:25]
            '| `student` | `teacher` |'

        Raises InputError for an unknown table, and for one that has nothing to show.
        """
        tables = {build.__name__: build for build in TABLES}
        if name not in tables:
            raise InputError(f"there is no table {name!r}", suggestion(name, tables))
        table = tables[name](self.record)
        if not table.shown:
            filled = [other for other, build in tables.items() if build(self.record).shown]
            raise InputError(
                f"the table {name!r} is empty: its numbers were not measured", f"not empty: {', '.join(filled)}"
            )
        return ShownTable(table)

    @checked
    def plot(self, name: str = "accuracy_latency") -> ShownFigure:
        """Return one of the report's figures, such as accuracy_latency, speedup or latency_distribution.

            >>> kdbench.Results.read("runs/digits").plot("accuracy_size").svg[:5]
            '<?xml'

        Raises InputError for an unknown figure, and for one whose numbers were not measured.
        """
        if name not in FIGURES:
            raise InputError(f"there is no figure {name!r}", suggestion(name, FIGURES))
        drawing = FIGURES[name](self.record, self.content.samples)
        if drawing is None:
            filled = [other for other, draw in FIGURES.items() if draw(self.record, self.content.samples) is not None]
            hint = f"not empty: {', '.join(filled)}" if filled else "this run has no numbers for any figure"
            raise InputError(f"the figure {name!r} is empty: its numbers were not measured", hint)
        return ShownFigure(drawing)

    def __iter__(self) -> Iterator[RunRecord | Path]:
        """Yield the record and the folder."""
        return iter((self.record, self.folder))

    def __repr__(self) -> str:
        return f"<kdbench.Results of {', '.join(self.models)} in {str(self.folder)!r}>"

    def _repr_html_(self) -> str:
        warnings = len(self.record.warnings)
        pointer = (
            f"{warnings} warning{'s' if warnings != 1 else ''} and everything else are in" if warnings else "Report:"
        )
        return page([table for name in _SHOWN if (table := self._tables[name]).shown], [f"{pointer} `{self._report}`"])

    @property
    def _report(self) -> Path:
        return self.folder / f"{self.content.stem}.html"

    @cached_property
    def _tables(self) -> dict[str, Any]:
        return {build.__name__: build(self.record) for build in TABLES if build.__name__ in _SHOWN}

    def _require(self, model: str) -> None:
        if model in self.record.cards:
            return
        seeds = [card.id for card in self.record.models if card.name == model]
        hint = f"each seed is a model: {', '.join(seeds)}" if seeds else suggestion(model, self.models)
        raise InputError(f"the record has no model {model!r}", hint)


def _known(
    metric: str,
    requested: Mapping[str, str | int],
    present: Sequence[tuple[str, Mapping[str, str | int]]],
    otherwise: str | None = None,
) -> str:
    """Return the hint for a missing metric, or missing axes of one; `present` are the record's metrics and axes.

    Of many axes, those that have the most in common with the `requested` ones are named.
    """
    places = [axes for name, axes in present if name == metric]
    if places and all(places):
        nearest = sorted(places, key=lambda axes: -len(requested.items() & axes.items()))
        texts = list(dict.fromkeys(map(describe_axes, nearest)))
        more = f", and {len(texts) - _LISTED:,} more" if len(texts) > _LISTED else ""
        return f"it is there{' or'.join(texts[:_LISTED])}{more}"
    if places:
        return "it is there without axes"
    return suggestion(metric, dict.fromkeys(name for name, _ in present), otherwise)


def _row(values: dict[str, Any]) -> dict[str, Any]:
    """Return a result as one row: axes and interval in columns of their own."""
    axes, interval = values.pop("axes", {}), values.pop("interval", None) or {}
    values.pop("within_run", None)
    bounds = {"low": interval.get("low"), "high": interval.get("high")} if "value" in values else {}
    named = {key: values.pop(key) for key in ("model", "teacher", "student", "metric", "value") if key in values}
    return {**named, **bounds, **axes, **values}
