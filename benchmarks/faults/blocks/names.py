"""Hostile names at every place of a record, through every page and format.

A trial may end in exit 3, which refuses the record. Otherwise every file is parsed again, and no name may be more than
text in it.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.faults.forking import forked, load
from benchmarks.faults.inspection import problems, unsafe_in_log
from benchmarks.faults.material.hostile import texts
from benchmarks.faults.material.small_record import PLACES, WORDS, with_text
from benchmarks.faults.trial import Trial
from kdbench.report import FORMATS


def trials(folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Try `count` names: each of the listed ones at all places, then random ones at one place each."""
    load()
    dice = random.Random(seed)
    names = texts(seed, count)[:count]
    for number, text in enumerate(names):
        places = ([*PLACES], [*WORDS], [dice.choice([*PLACES])])[number % 3]
        yield one(text, places, folder / str(number))


def one(text: str, places: Sequence[str], folder: Path) -> Trial:
    """Render a record with `text` at `places` in every way and inspect what was written."""
    run, out = folder / "run", folder / "out"
    run.mkdir(parents=True)
    out.mkdir()
    (run / "record.json").write_text(json.dumps(with_text(text, *places)), encoding="utf-8")
    formats = ["--format", ",".join(FORMATS.names())]
    commands = (
        ["report", run, *formats, "--out", out],
        ["report", run, *formats, "--style", "summary", "--out", out / "style"],
        ["ready", run, "--target", "server-cpu"],
        ["compare", run, run, "--markdown", out / "compare.md", "--junit", out / "compare.xml"],
        ["history", folder, "--out", out / "history"],
        ["history", folder, "--json"],
    )
    faults: list[str] = []
    outcomes = set()
    for command in commands:
        ended = forked(command, folder)
        outcomes.add(ended.outcome)
        faults += [f"{command[0]}: {one}" for one in ended.found]
        faults += [f"{command[0]}: the terminal: {one}" for one in unsafe_in_log(ended.output + ended.errors)]
    faults += problems(out)
    where = places[0] if len(places) == 1 else f"{len(places)} places"
    return Trial("names", f"{text[:40]!r} at {where}", ", ".join(sorted(outcomes)), tuple(dict.fromkeys(faults)))
