"""The comparison with the peer as Markdown, from its raw figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.trust.models import PEERS
from benchmarks.trust.repeats import Values
from benchmarks.trust.tables.markdown import commits, met, others, paragraph, percent, signed, table
from kdbench import statistics, units
from kdbench.statistics import Estimate

SHARE_LIMIT, LIMIT_NS = 0.02, 10_000
_HOW = """One thread, batch 1, the same session options and inputs, the same core, a different one in every repeat.
LoadGen runs its SingleStream scenario. p50 is the median of the processes' medians; the difference is the median over
the pairs, kdbench minus LoadGen, uncorrected: LoadGen's time includes its call into Python and back, as the model that
computes nothing shows. The goal is a difference within 2 % or 10 µs, whichever is more:"""


@dataclass(frozen=True)
class Agreement:
    """The medians of two tools on one model, and how far apart they are: ours less theirs, in ns."""

    ours_ns: float
    theirs_ns: float
    difference_ns: Estimate

    @property
    def limit_ns(self) -> float:
        """How far apart they may be: 2 % of theirs or 10 µs, whichever is more."""
        return max(SHARE_LIMIT * self.theirs_ns, LIMIT_NS)

    @property
    def holds(self) -> bool:
        """Whether they are no further apart than that."""
        return abs(self.difference_ns.value) <= self.limit_ns


def agreement(ours_ns: Sequence[float], theirs_ns: Sequence[float]) -> Agreement:
    """Compare the medians of processes that took turns, pair by pair."""
    difference = statistics.median(np.subtract(ours_ns, theirs_ns))
    return Agreement(float(np.median(ours_ns)), float(np.median(theirs_ns)), difference)


def section(result: Values) -> str:
    """Return the table of `result`, what reports/trust/peer.json holds."""
    repeats, settings = result["repeats"], result["settings"]
    by_model: dict[str, list[Values]] = {}
    for r in repeats:
        by_model.setdefault(r["model"], []).append(r["p50_ns"])
    agreements = {model: _of_model(p50s) for model, p50s in by_model.items()}
    processes = min(len(p50s) for p50s in by_model.values())
    judged = [net.name for net in PEERS if net.name in agreements]
    rows = [
        _row(model, agreements[model], model in judged) for model in sorted(agreements, key=lambda m: m not in judged)
    ]
    heads = ["model", "kdbench p50", "LoadGen p50", "difference (95 % interval)", "relative", "limit", "goal"]
    holding = sum(agreements[model].holds for model in judged)
    about = f"""{processes} fresh processes of {settings["seconds"]:g} s for each tool, in alternation, at
        {commits(repeats)}. {_HOW} {met(holding == len(judged))}, it holds for {holding} of {len(judged)} models.
        {others(repeats)}"""
    return "\n\n".join(
        [
            "## The peer: kdbench and MLPerf LoadGen on the same model",
            f"    python -m benchmarks.trust.peer --repeats {processes}",
            paragraph(about),
            table(heads, rows),
        ]
    )


def _of_model(p50s: Sequence[Values]) -> Agreement:
    return agreement([r["kdbench"] for r in p50s], [r["LoadGen"] for r in p50s])


def _row(model: str, result: Agreement, judged: bool) -> list[str]:
    difference = result.difference_ns
    share = difference.value / result.theirs_ns
    return [
        model if judged else f"{model} (computes nothing)",
        units.time(result.ours_ns),
        units.time(result.theirs_ns),
        f"{_signed_time(difference.value)} {_interval(difference)}",
        signed(percent(share), share),
        units.time(result.limit_ns) if judged else "",
        met(result.holds) if judged else "",
    ]


def _interval(difference: Estimate) -> str:
    if difference.low is None or difference.high is None:
        return "(too few for an interval)"
    return f"({_signed_time(difference.low)} to {_signed_time(difference.high)})"


def _signed_time(ns: float) -> str:
    return signed(units.time(ns), ns)
