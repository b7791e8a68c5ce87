"""Verdicts and comparisons that a notebook displays as a sentence and a table; elsewhere they print as one line."""

from typing import Self, cast

from kdbench.api.display import page
from kdbench.results import comparisons, verdicts
from kdbench.results.values import StoredValue


class _Displayed(StoredValue):  # noqa: PLW1641 - the tables in it have no hash
    """A stored value that a notebook can display; it equals the plain value and has the same file format."""

    @classmethod
    def of(cls, value: StoredValue) -> Self:
        """Return a valid value as one that a notebook displays."""
        return cast("Self", cls.model_construct(value.model_fields_set, **dict(value)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredValue) and self.file_kind == other.file_kind and dict(self) == dict(other)

    def __repr__(self) -> str:
        return f"<kdbench.{type(self).__name__} {self._in_a_line()}>"

    __str__ = __repr__

    def _in_a_line(self) -> str:
        raise NotImplementedError


class Verdict(_Displayed, verdicts.Verdict):
    """A run judged by a target: every candidate's verdict, and the best model that is READY.

    A notebook displays it as `kdbench ready` prints it. `overall`, or `outcome`, is READY, NOT READY or INCONCLUSIVE.
    `best` is the best model that is READY, else None. `models` has each candidate with its criteria: value, limit,
    outcome, reason and remedy. `example` is true if the target's numbers are only examples. `measured_on` describes the
    machine; `device` is its name if its results were merged from a bundle. `cautions` are the codes of the run's
    warnings.

        >>> verdict = kdbench.judge("runs/digits", "server-cpu")
        >>> verdict.outcome, verdict.exit_code, verdict.best
        ('INCONCLUSIVE', 2, None)
        >>> verdict.nearest.model, [criterion.metric for criterion in verdict.nearest.missing]
        ('student', ['latency_p50_ns', 'latency_p99_ns', 'peak_memory_bytes'])
    """

    def _in_a_line(self) -> str:
        best = f": {self.best}" if self.best else ""
        return f"{self.overall} for {self.title}{best}"

    def _repr_markdown_(self) -> str:
        from kdbench.report.text.markdown import prose, table
        from kdbench.report.text.verdict import verdict_sentence, verdict_table

        return f"{prose(verdict_sentence(self))}\n\n{table(verdict_table(self))}"

    def _repr_html_(self) -> str:
        from kdbench.report.text.verdict import verdict_sentence, verdict_table

        return page([verdict_table(self)], [], above=[verdict_sentence(self)])


class Comparison(_Displayed, comparisons.Comparison):
    """What changed between two records, or two states of models.

    A notebook displays it as `kdbench compare` prints it. `overall` is the worst outcome of its `rows`: regressed,
    inconclusive, improved or same. `regressions` are the rows that got worse. `lost` are the models that only the base
    has; with any, `overall` is inconclusive at best. `added` are the models that only the new state has, `identical`
    those with the same file in both. `remeasured` is true if both states were measured side by side on `machine`.

        >>> models = {"teacher": "student"}
        >>> comparison = kdbench.compare("runs/digits", "runs/digits", models=models, metrics=["top1", "macs"])
        >>> comparison.overall, comparison.exit_code, [row.metric for row in comparison.regressions]
        ('improved', 0, [])
    """

    def _in_a_line(self) -> str:
        from kdbench.report.text.comparison import sentence

        return f"{self.overall}: {sentence(self)}"

    def _repr_markdown_(self) -> str:
        from kdbench.report.text.comparison import markdown

        return markdown(self)

    def _repr_html_(self) -> str:
        from kdbench.report.text.comparison import SYMBOLS, comparison_table, remarks, sentence

        table = comparison_table(self)
        heading = f"{SYMBOLS[self.overall]} {self.overall}: {sentence(self)}"
        return page([table] if table.shown else [], remarks(self), above=[heading])
