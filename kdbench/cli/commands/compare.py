"""`kdbench compare`: what changed between two runs, or two states of a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import console
from kdbench.cli.invocation import Invocation
from kdbench.cli.options import (
    Json,
    QuietProgress,
    Texts,
    Title,
    measuring,
    option,
    output_file,
    several_names,
    stored_run,
    typed_options,
)
from kdbench.errors import InputError

if TYPE_CHECKING:
    from kdbench.recipe import InputOptions, Measure
    from kdbench.results.comparisons import Comparison

_STDOUT = Path("-")


@measuring
def compare(
    ctx: typer.Context,
    base: Annotated[Path, typer.Argument(metavar="BASE", help="A run's folder or record.json, or an .onnx file.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same kind, to compare with BASE.")],
    *,
    models: Annotated[Texts, option("--model", "NAME", "Model, or BASE=NEW; repeatable (default: all).")] = None,
    metrics: Annotated[
        Texts, option("--metric", "ID", "Metric; repeatable (default: accuracy, latency, memory, size, …).")
    ] = None,
    thresholds: Annotated[
        Texts,
        option("--threshold", "[ID=]N", "How much worse a metric may be: 10%, macs=2%, top1=0.3 (points); repeatable."),
    ] = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Measure both side by side now, instead of comparing stored numbers.")
    ] = False,
    markdown: Annotated[
        Path | None, option("--markdown", "FILE", "Write a comment for a pull request (-: to standard output).")
    ] = None,
    junit: Annotated[Path | None, option("--junit", "FILE", "Write JUnit XML with one test case per number.")] = None,
    inputs: "InputOptions",
    measure: "Measure",
    out: Annotated[
        Path | None, option("--out", "DIR", "Folder for the new measurement (default: below runs/).")
    ] = None,
    quiet: QuietProgress = False,
    title: Title = False,
    json: Json = False,
) -> int:
    """Compare two runs: which metrics changed significantly and by more than a threshold.

    Exit code 0: same or better; 1: regressed; 2: inconclusive, for example because numbers are missing or too
    uncertain. The options from --data to --profile, and --out, need --remeasure and mean the same as for kdbench bench.
    The data set is NEW's unless --data names another.

    Example: kdbench compare runs/main runs/branch --threshold latency_p50_ns=10% --markdown comment.md
    """
    from kdbench.judge.compare.thresholds import Thresholds

    if json and markdown == _STDOUT:
        raise InputError("--json and --markdown - both write to standard output", "give --markdown a file")
    junit = output_file(junit, "--junit")
    markdown = markdown if markdown == _STDOUT else output_file(markdown, "--markdown")
    selection: dict[str, Any] = {"models": _pairs(models or ()), "metrics": several_names("--metric", metrics)}
    selection["thresholds"] = Thresholds.read(thresholds or ())
    folder = None
    if remeasure:
        from kdbench.cli.progress import watching

        invocation = Invocation.of(ctx)
        invocation.measures = True
        with watching(invocation, quiet=quiet, title=title) as progress:
            from kdbench.workflows import remeasure as workflow

            comparison, folder = workflow.remeasure(
                base,
                new,
                inputs=inputs,
                options=measure,
                out=out,
                progress=progress,
                command=invocation.command,
                **selection,
            )
    else:
        if unused := [*typed_options(inputs, measure), *(["--out"] if out is not None else [])]:
            message = f"{unused[0]} needs --remeasure: stored records are not measured"
            raise InputError(message, f"add --remeasure, or leave {unused[0]} out")
        comparison = _compare_stored(base, new, **selection)
    _write(comparison, markdown, junit)
    _show(comparison, folder, markdown, json=json)
    return comparison.exit_code


def _compare_stored(base: Path, new: Path, **selection: Any) -> "Comparison":
    from kdbench.judge.compare.records import compare as compare_records
    from kdbench.results.records import RunRecord
    from kdbench.results.run_folder import RunFolder
    from kdbench.results.samples import read_samples

    for path in (base, new):
        if path.suffix == ".onnx":
            raise InputError(f"{path} is a model, not a record", "add --remeasure to measure both models side by side")
        stored_run(path)
    records = RunRecord.read(base), RunRecord.read(new)
    base_samples, new_samples = (read_samples(RunFolder.of(path).samples) for path in (base, new))
    return compare_records(*records, **selection, base_samples=base_samples, new_samples=new_samples)


def _pairs(texts: Sequence[str]) -> Mapping[str, str]:
    """Read `NAME` and `BASE=NEW`; raises InputError for a base with two partners."""
    partners: dict[str, str] = {}
    for text in texts:
        base, sign, new = (part.strip() for part in text.partition("="))
        partner = new if sign else base
        if partners.setdefault(base, partner) != partner:
            message = f"--model names {base!r} twice: as {partners[base]} and as {partner}"
            raise InputError(message, "compare one at a time")
    return partners


def _write(comparison: "Comparison", markdown: Path | None, junit: Path | None) -> None:
    from kdbench.files import storage

    if markdown is not None and markdown != _STDOUT:
        from kdbench.report.text.comparison import markdown as as_markdown

        storage.write_text(markdown, as_markdown(comparison))
    if junit is not None:
        from kdbench.report.render.junit import junit as as_junit

        storage.write_text(junit, as_junit(comparison))


def _show(comparison: "Comparison", folder: Path | None, markdown: Path | None, *, json: bool) -> None:
    from kdbench.report.render.terminal import one_table
    from kdbench.report.text import comparison as report

    if json:
        console.result_json({**comparison.to_json(), **({"folder": str(folder)} if folder else {})})
    elif markdown == _STDOUT:
        console.result(report.markdown(comparison).rstrip())
    else:
        if comparison.rows:
            console.result_drawn(one_table(report.comparison_table(comparison)))
        console.result("\n".join([*report.remarks(comparison), report.verdict_line(comparison)]))
        if folder is not None:
            console.result(f"report: {folder / 'report.md'}")
