"""The experiment on the command line's decisions as Markdown, from its raw figures."""

from collections.abc import Sequence

import numpy as np

from benchmarks.trust.neighbours import CONDITIONS
from benchmarks.trust.repeats import Values
from benchmarks.trust.summary import Answer, coverage, scatter
from benchmarks.trust.tables.markdown import commits, met, others, paragraph, percent, table
from kdbench import units

TARGET = "server-cpu"
HALF_WIDTH_GOAL = 0.06
MIN_HELD = 11 / 12
_ABOUT = f"""Every run starts in a new folder with an empty cache. `ready` judges it for the target `{TARGET}`, and for
a target whose limit is a median latency of 1 µs, which no model meets. A verdict is READY (exit code 0) or NOT READY
(1); undecided is exit code 2."""


def section(result: Values) -> str:
    """Return the tables of what reports/trust/commands.json holds."""
    repeats, settings = result["repeats"], result["settings"]
    runs = [r for r in repeats if r["kind"] == "run"]
    comparisons = [r for r in repeats if r["kind"] == "bench"]
    parts = ["## Commands: how often they decide"]
    parts += _runs(runs) if runs else []
    parts += _comparisons(comparisons, settings["budget_s"]) if comparisons else []
    return "\n\n".join(parts)


def _runs(repeats: Sequence[Values]) -> list[str]:
    rows = []
    for condition in CONDITIONS:
        of_condition = [r for r in repeats if r["condition"] == condition]
        if not of_condition:
            continue
        n = len(of_condition)
        codes = [r["exit_codes"][TARGET] for r in of_condition]
        refused = sum(r["exit_codes"]["unreachable"] == 1 for r in of_condition)
        seconds = float(np.median([r["seconds"] for r in of_condition]))
        decided = f"{codes.count(0)} READY, {codes.count(1)} NOT READY, {codes.count(2)} undecided"
        goal = met(2 not in codes and refused == n)
        rows.append([condition, str(n), units.duration(seconds), decided, f"{refused} of {n}", goal])
    count = max(int(row[1]) for row in rows)
    return [
        f"    python -m benchmarks.trust.commands --repeats {count}",
        paragraph(f"The recipe digits, at {commits(repeats)}. {_ABOUT}"),
        table(["beside", "runs", "time of a run (median)", TARGET, "1 µs: NOT READY", "goal"], rows),
    ]


def _comparisons(repeats: Sequence[Values], budget_s: float) -> list[str]:
    reference, other = repeats[0]["models"]
    answers = [Answer(**r["ratio"]) for r in repeats]
    values = scatter([a.value for a in answers])
    held = coverage(answers, values.long_run)
    command = f"--comparisons {len(repeats)} --models {reference}.onnx {other}.onnx --budget {budget_s:g}"
    about = f"""{len(repeats)} runs of `kdbench bench` on two models that kdbench did not train, one after the other, at
        {commits(repeats)}, with a budget of {budget_s:g} s. The long-run ratio is the geometric mean. The goals: 11 of
        12 intervals are correct, and the median half-width is at most {percent(HALF_WIDTH_GOAL)}. {others(repeats)}"""
    row = [
        f"{reference} : {other}",
        units.ratio(values.long_run),
        percent(values.sd),
        f"{held.held} of {held.n}: {met(held.held >= MIN_HELD * held.n)}",
        f"{percent(held.half_width)}: {met(held.half_width <= HALF_WIDTH_GOAL)}",
    ]
    heads = ["", "long-run", "spread (sd)", "correct intervals", "half-width (median)"]
    return [f"    python -m benchmarks.trust.commands {command}", paragraph(about), table(heads, [row])]
