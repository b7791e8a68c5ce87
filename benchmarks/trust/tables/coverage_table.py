"""The coverage experiment as Markdown, from its raw figures."""

from collections.abc import Sequence

import numpy as np

from benchmarks.trust.models import PAIRS, Pair
from benchmarks.trust.repeats import Values
from benchmarks.trust.summary import Answer, Coverage, coverage, scatter
from benchmarks.trust.tables.markdown import commits, met, others, paragraph, percent, signed, table
from kdbench import units

SHARE_GOAL = 0.9  # 36 of 40
_METHODS = """A repeat compares the pair with every method, one after the other in varying order: kdbench, a naive
script (one model's calls, then the other's, 2 s, quotient of the medians), pytest-benchmark (two tests, default
settings, quotient of the medians) and MLPerf LoadGen (SingleStream, 2 s and one process for each model, quotient of
its own medians). All use one thread, batch 1, the same session options and inputs. kdbench's processes take turns on
the cores; those of the other methods stay on one core, a different one in every repeat. The long-run ratio is the
geometric mean of kdbench's repeats; the other methods' own long-run ratios are listed as well. Intervals are
computed from the stored rounds with the statistics of kdbench when this page was written."""
_STOPPED = "If kdbench had stopped when its interval was narrower than a precision (the first one is the default):"


def section(result: Values) -> str:
    """Return the tables of every pair in `result`, what reports/trust/coverage.json holds."""
    repeats = result["repeats"]
    pairs = {name: [r for r in repeats if r["pair"] == name] for name in PAIRS}
    parts = [_pair(PAIRS[name], of_pair) for name, of_pair in pairs.items() if of_pair]
    return "\n\n".join([_introduction(result), *parts])


def _introduction(result: Values) -> str:
    repeats, settings = result["repeats"], result["settings"]
    names = " ".join(dict.fromkeys(r["pair"] for r in repeats))
    pairs = len(names.split())
    count = max(len([r for r in repeats if r["pair"] == name]) for name in PAIRS)
    command = "python -m benchmarks.trust.coverage"
    took = units.duration(sum(r["machine"]["seconds"] for r in repeats))
    about = f"""{pairs} pairs of models, {count} repeats of each, {took} in all, at {commits(repeats)}; kdbench had a
        budget of {settings["budget_s"]:g} s and used all of it. {_METHODS} {others(repeats)}"""
    return "\n\n".join(
        [
            "## Coverage: how often the interval contains the long-run ratio",
            f"    {command} --repeats {count} --budget {settings['budget_s']:g} --pairs {names}",
            paragraph(about),
        ]
    )


def _pair(pair: Pair, repeats: Sequence[Values]) -> str:
    ours = [r["methods"]["kdbench"] for r in repeats]
    truth = scatter([r["ratio"] for r in ours]).long_run
    ratios = coverage([_answer(r) for r in ours], truth)
    covered = met(ratios.held >= SHARE_GOAL * ratios.n)
    narrow = met(ratios.half_width < pair.half_width_goal)
    return "\n\n".join(
        [
            f"### {pair.title}",
            paragraph(pair.about),
            f"""- Intervals that contain the long-run ratio: {_held(ratios)}; goal {percent(SHARE_GOAL)}: {covered}.
- Median half-width: {percent(ratios.half_width)}; goal below {percent(pair.half_width_goal)}: {narrow}.""",
            _methods(repeats, truth),
            _STOPPED,
            _replays(ours, truth),
        ]
    )


def _methods(repeats: Sequence[Values], truth: float) -> str:
    rows = []
    for method in repeats[0]["methods"]:
        spread = scatter([r["methods"][method]["ratio"] for r in repeats])
        off = spread.long_run / truth - 1
        rows.append(
            [
                method,
                _fine(spread.long_run),
                "" if method == "kdbench" else signed(percent(off), off),
                percent(spread.sd),
                f"{_fine(spread.low)} to {_fine(spread.high)}",
                percent(spread.high / spread.low - 1),
            ]
        )
    rows.sort(key=lambda row: row[0] != "kdbench")
    heads = ["method", "long-run ratio", "difference from kdbench's", "spread (sd)", "range", "largest over smallest"]
    return table(heads, rows)


def _replays(ours: Sequence[Values], truth: float) -> str:
    rows = [_replay("the whole budget", ours, [len(r["sessions"]) for r in ours], truth)]
    for number, first in enumerate(ours[0]["replayed"]):
        stopped = [r["replayed"][number] for r in ours]
        reached = sum(r["reached"] for r in stopped)
        name = f"{percent(first['precision'])}, reached by {reached} of {len(stopped)}"
        rows.append(_replay(name, stopped, [r["sessions"] for r in stopped], truth))
    return table(["stop at", "sessions (median)", "correct intervals", "half-width (median)", "spread (sd)"], rows)


def _replay(name: str, answers: Sequence[Values], sessions: Sequence[int], truth: float) -> list[str]:
    covered = coverage([_answer(r) for r in answers], truth)
    sd = scatter([r["ratio"] for r in answers]).sd
    return [name, f"{np.median(sessions):g}", _held(covered), percent(covered.half_width), percent(sd)]


def _fine(ratio: float) -> str:
    return f"{units.significant(ratio, 4)}×"


def _held(covered: Coverage) -> str:
    low, high = _percent_points(covered.share.low), _percent_points(covered.share.high)
    return f"{covered.held} of {covered.n} ({low} to {high} %)"


def _percent_points(share: float | None) -> str:
    assert share is not None, "a share of repeats has an interval"
    return f"{100 * share:.0f}"


def _answer(values: Values) -> Answer:
    value = values["ratio"] if "ratio" in values else values["value"]
    return Answer(value, values["low"], values["high"])
