"""The experiment on verdicts as Markdown, from its raw figures."""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.trust.models import PAIRS
from benchmarks.trust.neighbours import CONDITIONS
from benchmarks.trust.repeats import Values
from benchmarks.trust.tables.markdown import commits, met, paragraph, percent, table
from kdbench import units
from kdbench.judge.limits import Side, check_limit
from kdbench.results.records import Interval, Pair, measured

MARGIN = 1.25
MIN_RATIO = 2.5
_ABOUT = """The long-run value is the geometric mean of the condition's repeats. A limit is {margin} away from it, on
the side where it is met (at most {more:g} times the value) and on the other side. A naive mean and
pytest-benchmark's mean have no interval: they decide by the number alone. pytest-benchmark's
--benchmark-compare-fail=mean:25% compares each repeat with the previous one of the same models: every failure is a
false alarm."""

Decide = Callable[[Values, str, Side, float], str]


def section(result: Values) -> str:
    """Return the tables of every condition in `result`, what reports/trust/decisions.json holds."""
    repeats, settings, host = result["repeats"], result["settings"], result["environment"]["host"]
    count = max(len([r for r in repeats if r["condition"] == c]) for c in CONDITIONS)
    about = f"""{count} repeats on an idle machine, with one core kept busy, and with bursts of work on every core,
        spread over {settings["hours"]:g} h, at {commits(repeats)}; kdbench was given {settings["budget_s"]:g} s.
        {_ABOUT.format(margin=percent(MARGIN - 1), more=MARGIN)}"""
    command = "python -m benchmarks.trust.decisions"
    parts = [
        f"## Verdicts: how often they are right ({host['cpu']}, {host['cores_usable']} cores)",
        f"    {command} --repeats {count} --budget {settings['budget_s']:g} --hours {settings['hours']:g}",
        paragraph(about),
    ]
    for condition in CONDITIONS:
        of_condition = [r for r in repeats if r["condition"] == condition]
        if of_condition:
            parts += [f"### {condition}", _intervals(of_condition), _decisions(of_condition)]
    return "\n\n".join(parts)


def _models(repeats: Sequence[Values]) -> tuple[str, str]:
    pair = PAIRS[repeats[0]["pair"]]
    return pair.teacher.name, pair.student.name


def _long_run(estimates: Sequence[Values]) -> float:
    return float(np.exp(np.mean(np.log([e["value"] for e in estimates]))))


def _intervals(repeats: Sequence[Values]) -> str:
    teacher, student = _models(repeats)
    rows = []
    for title, estimates, write, goal in (
        (f"{teacher}, p50", [r["p50_ns"][teacher] for r in repeats], units.time, 0.9),
        (f"{student}, p50", [r["p50_ns"][student] for r in repeats], units.time, 0.9),
        (f"{teacher} : {student}", [r["ratio"] for r in repeats], units.ratio, 0.95),
    ):
        truth = _long_run(estimates)
        held = sum(e["low"] <= truth <= e["high"] for e in estimates)
        logs = np.log([[e["value"], e["low"], e["high"]] for e in estimates])
        half = float(np.median(logs[:, 2] - logs[:, 1])) / 2
        spread = percent(float(np.std(logs[:, 0], ddof=1)))
        row = [
            title,
            write(truth),
            spread,
            f"{held} of {len(estimates)}",
            percent(half),
            met(held >= goal * len(estimates)),
        ]
        rows.append(row)
    return table(["", "long-run", "spread (sd)", "correct intervals", "half-width (median)", "goal"], rows)


def _decisions(repeats: Sequence[Values]) -> str:
    """Return how often each method passes a limit on the good side, fails one on the bad side, and is wrong."""
    rows = []
    for name, decide in (("kdbench", _by_interval), ("naive mean", _naive), ("pytest-benchmark mean", _pytest)):
        right, wrong, total = 0, 0, 0
        for model in _models(repeats):
            truth = _long_run([{"value": _value(r, model, name)} for r in repeats])
            for limit, expected in ((MARGIN * truth, "PASS"), (truth / MARGIN, "FAIL")):
                outcomes = [decide(r, model, "max", limit) for r in repeats]
                right += outcomes.count(expected)
                wrong += outcomes.count("FAIL" if expected == "PASS" else "PASS")
                total += len(outcomes)
        passes = sum(_ratio_passes(r, name) for r in repeats)
        alarms = _alarms(repeats) if name.startswith("pytest") else ""
        rows.append([name, f"{right} of {total}", str(wrong), f"{passes} of {len(repeats)}", alarms])
    heads = ["decided by", "correct", "wrong", f"ratio at least {MIN_RATIO:g}: passes", "compare-fail, false alarms"]
    return table(heads, rows)


def _value(repeat: Values, model: str, method: str) -> float:
    if method == "kdbench":
        return float(repeat["p50_ns"][model]["value"])
    return float(repeat["naive" if method.startswith("naive") else "pytest-benchmark"][model]["mean_ns"])


def _by_interval(repeat: Values, model: str, side: Side, limit: float) -> str:
    estimate = repeat["p50_ns"][model]
    interval = Interval(low=estimate["low"], high=estimate["high"])
    return check_limit(measured(model, "latency_p50_ns", estimate["value"], interval=interval), side, limit).outcome


def _naive(repeat: Values, model: str, side: Side, limit: float) -> str:
    assert side == "max"
    return "PASS" if _value(repeat, model, "naive mean") <= limit else "FAIL"


def _pytest(repeat: Values, model: str, side: Side, limit: float) -> str:
    assert side == "max"
    return "PASS" if _value(repeat, model, "pytest-benchmark mean") <= limit else "FAIL"


def _ratio_passes(repeat: Values, method: str) -> bool:
    teacher, student = _models([repeat])
    if method != "kdbench":
        return _value(repeat, teacher, method) / _value(repeat, student, method) >= MIN_RATIO
    ratio = repeat["ratio"]
    interval = Interval(low=ratio["low"], high=ratio["high"])
    pair = Pair(metric="latency_ratio", teacher=teacher, student=student, value=ratio["value"], interval=interval)
    return check_limit(pair, "min", MIN_RATIO).outcome == "PASS"


def _alarms(repeats: Sequence[Values]) -> str:
    means = np.array([[_value(r, model, "pytest-benchmark mean") for model in _models(repeats)] for r in repeats])
    failed = (means[1:] > MARGIN * means[:-1]).any(axis=1)
    return f"{int(failed.sum())} of {len(failed)}"
