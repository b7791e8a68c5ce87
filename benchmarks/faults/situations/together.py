"""Commands that begin at the same moment: on one machine they measure one after the other."""

import random
import time
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from benchmarks.faults.commands import LIMIT_S, bench, last_words, leftovers, start
from benchmarks.faults.overlapping import overlaps
from benchmarks.faults.patience import ended

# Python runs this when it starts; the measuring processes write down when they live, and whose they are.
_SITE = """
import atexit, os, sys, time
def note(event):
    with open({log!r}, "a") as stream:
        stream.write(f"{{os.getppid()}} {{os.getpid()}} {{event}} {{time.monotonic_ns()}}\\n")
if any("kdbench.worker" in word for word in sys.orig_argv):
    note("begin")
    atexit.register(note, "end")
"""
_APART_S = 0.5


class _Life(NamedTuple):
    """When a measuring process began and ended, and the process that it belongs to."""

    owner: int
    begin_ns: int
    end_ns: int


def benches_at_once(rng: random.Random, place: Path, count: int = 8) -> tuple[str, str]:
    """Begin `count` benches at about the same time, each in a folder of its own: all finish, none beside another."""
    log = place / "lives"
    (place / "site").mkdir()
    (place / "site" / "sitecustomize.py").write_text(_SITE.format(log=str(log)))
    arguments = (*bench(place), "--energy", "off")
    processes = []
    for number in range(count):
        out = ("--out", str(place / f"out-{number}"))
        processes.append(start(place, *arguments, *out, log=f"log-{number}", paths=(place / "site",)))
        time.sleep(rng.random() ** 2 * _APART_S)
    codes = [ended(process, LIMIT_S * count) for process in processes]
    faults = [
        "did not end" if code is None else f"exit {code}: {last_words(place, f'log-{number}')}"
        for number, code in enumerate(codes)
        if code
    ]
    faults += [f"out-{number} has no record" for number in range(count) if not _record(place, number).exists()]
    lives, owners = _lives(log)
    if owners != {process.pid for process in processes}:
        faults.append(f"{len(owners)} of {count} measured")
    faults += [
        f"both measured for {(earlier.end_ns - later.begin_ns) / 1e6:.0f} ms"
        for earlier, later in overlaps(lives, attrgetter("begin_ns"), attrgetter("end_ns"))
        if earlier.owner != later.owner
    ]
    return f"{count} benches at once", "; ".join(filter(None, [*faults, leftovers(place)]))


def _record(place: Path, number: int) -> Path:
    return place / f"out-{number}" / "record.json"


def _lives(log: Path) -> tuple[list[_Life], set[int]]:
    """Return the lives of the measuring processes, and the processes that they belong to."""
    events: dict[tuple[int, int], dict[str, int]] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        owner, process, event, at = line.split()
        events.setdefault((int(owner), int(process)), {})[event] = int(at)
    lives = [_Life(owner, life["begin"], life.get("end", life["begin"])) for (owner, _), life in events.items()]
    return lives, {owner for owner, _ in events}
