"""Targets on the command line: loading them, showing the verdicts, and the exit code of several."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import console
from kdbench.cli.options import several_names
from kdbench.errors import InputError

if TYPE_CHECKING:
    from kdbench.judge.target import Target
    from kdbench.report import Content
    from kdbench.results.records import RunRecord
    from kdbench.results.run_folder import RunFolder
    from kdbench.results.verdicts import Verdict
    from kdbench.workflows.stages.results import RunResults


def target_names(incomplete: str) -> list[str]:
    """Return the shipped targets whose names begin with `incomplete`, for shell completion."""
    from kdbench.judge.target import shipped_targets

    return [name for name in shipped_targets() if name.startswith(incomplete)]


Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="T",
        help="Judge against this target: a shipped one (kdbench list targets) or a .toml file; repeatable.",
        autocompletion=target_names,
    ),
]


def load_targets(names: Sequence[str] | None) -> "tuple[Target, ...]":
    """Return the named targets; raises InputError for an unknown one, and for two of the same name."""
    from kdbench.judge.target import load_target

    # A comma separates names, but it may also be part of a file's name.
    separate: list[str] = []
    for text in names or ():
        separate += [text] if text and Path(text).exists() else several_names("--target", [text])
    targets = tuple(load_target(name) for name in dict.fromkeys(separate))
    for name, uses in Counter(target.name for target in targets).items():
        if uses > 1:
            hint = "verdicts are stored under the name: change `name` in one of the files"
            raise InputError(f"two targets are called {name!r}", hint)
    return targets


def show_verdicts(verdicts: "Sequence[Verdict]") -> None:
    """Write each verdict to standard output: one paragraph, then every criterion of every model."""
    from rich.text import Text

    from kdbench.report.code_spans import without_marks
    from kdbench.report.render.terminal import one_table
    from kdbench.report.text.verdict import verdict_sentence, verdict_table

    for verdict in verdicts:
        table = verdict_table(verdict)
        console.result_drawn(Text(without_marks(verdict_sentence(verdict))))
        console.result("")
        console.result_drawn(one_table(table))
        console.result_drawn(Text(without_marks("\n".join(table.notes))))
        console.result("")


def show_results(results: "RunResults", *, json: bool, more: "Mapping[str, Any] | None" = None) -> int:
    """Write a run's results and its verdicts to standard output; return the exit code, 0 without targets.

    `more` are further keys of the JSON.
    """
    show_record(results.record, results.folder, results.verdicts, json=json, more=more)
    return exit_code(results.verdicts)


def show_record(
    record: "RunRecord",
    run: "RunFolder",
    verdicts: "Sequence[Verdict]",
    *,
    json: bool,
    more: "Mapping[str, Any] | None" = None,
) -> None:
    """Write a record, the places of those reports that are in its folder, and verdicts to standard output."""
    if json:
        judged = {"verdicts": [verdict.to_json() for verdict in verdicts]} if verdicts else {}
        console.result_json({**record.to_json(), "folder": str(run.path), **judged, **(more or {})})
        return
    from kdbench.report.render.terminal import summary

    console.result_drawn(summary(record))
    if run.reports:
        console.result(f"report: {' and '.join(map(str, run.reports))}")
    if verdicts:
        console.result("")
        show_verdicts(verdicts)
    for line in last_lines(record, run.path, verdicts):
        console.result(line)


def last_lines(record: "RunRecord", folder: Path, verdicts: "Sequence[Verdict]") -> list[str]:
    """Return what ends the output of a run: the verdict on each target in a line, or the command that gives one.

    The command names the first shipped target for this machine; files that were only measured get none.
    """
    if verdicts:
        best = [f": {verdict.best}" if verdict.best else "" for verdict in verdicts]
        return [f"verdict: {v.overall} for {v.title}{model}" for v, model in zip(verdicts, best, strict=True)]
    if record.kind != "run":
        return []
    from kdbench.judge.device import differences
    from kdbench.judge.target import load_target, shipped_targets

    targets = [name for name in shipped_targets() if not differences(record, load_target(name).device)]
    return [f"next: kdbench ready {shlex.quote(str(folder))} --target {targets[0] if targets else 'TARGET.toml'}"]


def with_verdicts(content: "Content", targets: "Sequence[Target]") -> "Content":
    """Return a report's content with new verdicts on these targets, which replace stored ones."""
    from kdbench.judge.readiness import judge

    new = [judge(content.record, target) for target in targets]
    judged = {verdict.target for verdict in new}
    stored = tuple(verdict for verdict in content.verdicts if verdict.target not in judged)
    return replace(content, verdicts=(*new, *stored))


def exit_code(verdicts: "Sequence[Verdict]") -> int:
    """Return the worst of the verdicts' exit codes: 1 if any is NOT READY, else 2 if any is INCONCLUSIVE, else 0."""
    return max((verdict.exit_code for verdict in verdicts), key=(0, 2, 1).index, default=0)
