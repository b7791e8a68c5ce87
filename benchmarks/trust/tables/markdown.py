"""Tables and figures as the page of results writes them."""

import textwrap
from collections.abc import Sequence

import numpy as np

from benchmarks.trust.repeats import Values
from kdbench import units


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others, which are numbers, to the right."""
    rules = [":---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rules, *rows))


def paragraph(text: str) -> str:
    """Return `text` as one paragraph, broken into lines anew."""
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False)


def commits(repeats: Sequence[Values]) -> str:
    """Say at which commits `repeats` were taken; a plus marks a working copy with changes."""
    commits_seen = sorted({r["commit"] for r in repeats if r["commit"]})
    return f"commit {', '.join(commits_seen)}" if commits_seen else "an unknown commit"


def others(repeats: Sequence[Values]) -> str:
    """Describe the other work on the machine during `repeats`: in the median repeat, and in the worst."""
    machines = [r["machine"] for r in repeats]
    cores, pushed, stolen = (
        (float(np.median([m[key] for m in machines])), max(m[key] for m in machines))
        for key in ("others_cores", "preemptions_per_s", "stolen_cores")
    )
    return f"""In the median repeat, other work kept {cores[0]:.2f} cores busy (at most {cores[1]:.2f}),
        preempted these processes {pushed[0]:.1f} times a second (at most {pushed[1]:.1f}), and the
        hypervisor took {stolen[0]:.2f} cores (at most {stolen[1]:.2f})."""


def percent(share: float | None) -> str:
    """Write a small share as per cent with two digits, or that there is none: `0.84 %`."""
    return "n/a" if share is None else f"{units.significant(100 * share, 2)} %"


def signed(text: str, value: float) -> str:
    """Write `text`, which is `value` with its unit, with a plus before it if the value is positive."""
    return f"+{text}" if value > 0 else text


def met(holds: bool) -> str:
    """Say whether a goal was met, so that a miss is seen."""
    return "met" if holds else "**missed**"
