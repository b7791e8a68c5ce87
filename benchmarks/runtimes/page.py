"""The page of the comparison with each runtime's own tool, from the stored figures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.runtimes.tools import TOOLS
from benchmarks.trust.repeats import Values
from benchmarks.trust.tables.markdown import commits, met, others, paragraph, percent, signed, table
from kdbench import units
from kdbench.files import storage

GOAL = 0.05  # of a latency


def write(results: Path) -> None:
    """Write `README.md` from `runtimes.json` and `notes.md`, which a person writes, in the folder `results`."""
    content = storage.read_json(results / "runtimes.json", "result of the comparison")
    notes = results / "notes.md"
    text = f"\n{notes.read_text(encoding='utf-8')}" if notes.exists() else ""
    storage.write_text(results / "README.md", rendered(content) + text)


def rendered(content: Values) -> str:
    """Return the page."""
    repeats, here = content["repeats"], content["environment"]
    groups: dict[tuple[str, str], list[Values]] = {}
    for one in repeats:
        groups.setdefault((one["model"], one["tool"]), []).append(one)
    rows = [_row(of_tool) for of_tool in groups.values()]
    differences = [abs(_quotient(of_tool, _like_for_like)[0] - 1) for of_tool in groups.values()]
    within, worst = sum(one <= GOAL for one in differences), max(differences)
    changed = sum(one.get("changed", 0) for one in repeats)
    libraries = ", ".join(
        f"{name} {version}"
        for name, version in here["libraries"].items()
        if name in {"openvino", "ai-edge-litert", "onnxruntime"}
    )
    count = max(map(len, groups.values()))
    seconds, samples = content["settings"]["seconds"], content["settings"]["samples"]
    heads = ("model", "runtime", "compared with", "kdbench", "tool", "difference", "like for like", "range", "top-1")
    heads += ("other answers",)
    method = f"""Each repeat takes {seconds:g} s of either side, in fresh processes on the same core, with one thread at
        batch 1; which comes first alternates. The figures are medians of up to {count} repeats; *difference* is kdbench
        over the tool in the median repeat. *Like for like* is the same with kdbench's time by the tool's definition,
        where the list says that the tool has one of its own; *range* is its least and largest. *Top-1* is the share of
        the right answers to {samples} test samples, kdbench's and the tool's where they differ."""
    goal = f"""The goal was a difference of {percent(GOAL)} at most, like for like: {within} of {len(groups)} are within
        it, and the largest is {percent(worst)} ({met(worst <= GOAL)}).
        {"All answers are equal." if not changed else f"Answers that differ: {changed}."}"""
    arguments = content["settings"]["arguments"]
    used = dict.fromkeys(one["tool"] for one in repeats)
    listed = "\n".join(f"- {name}: {TOOLS[name].about}." for name in used)
    return f"""# Runtimes: kdbench beside their own tools

```sh
python -m benchmarks.runtimes {arguments}
```

{paragraph(goal)}

{table(heads, rows)}

{listed}

{paragraph(method)}

{paragraph(f"Measured on {here['host']['cpu']}, {libraries}, Python {here['host']['python']}, {commits(repeats)}.")}
{paragraph(others(repeats))}
"""


def _as_shown(repeat: Values) -> dict[str, float]:
    """Return the time that kdbench shows, and the one that the tool shows."""
    return dict(repeat["p50_ns"])


def _like_for_like(repeat: Values) -> dict[str, float]:
    """Return both times by the tool's definition."""
    return dict(repeat.get("defined_ns") or repeat["p50_ns"])


def _quotient(repeats: list[Values], times: Callable[[Values], dict[str, float]]) -> tuple[float, float, float]:
    """Return kdbench over the tool: the median, the least and the largest of the repeats."""
    quotients = [times(one)["kdbench"] / times(one)[one["tool"]] for one in repeats]
    return float(np.median(quotients)), min(quotients), max(quotients)


def _row(repeats: list[Values]) -> tuple[str, ...]:
    first = next(one for one in repeats if "changed" in one)
    shown, _, _ = _quotient(repeats, _as_shown)
    middle, least, largest = _quotient(repeats, _like_for_like)
    times = [
        units.time(float(np.median([one["p50_ns"][side] for one in repeats]))) for side in ("kdbench", first["tool"])
    ]
    shares = [units.share(first["correct"][side] / first["samples"]) for side in ("kdbench", first["tool"])]
    spread = " to ".join(_signed(one) for one in (least, largest))
    answers = f"{first['changed']} of {first['samples']}"
    named = (f"`{first['model']}`", first["runtime"], first["tool"])
    return (*named, *times, _signed(shown), _signed(middle), spread, ", ".join(dict.fromkeys(shares)), answers)


def _signed(quotient: float) -> str:
    return signed(units.change(quotient).removeprefix("+"), quotient - 1)
