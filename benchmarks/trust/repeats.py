"""An experiment of many repeats that can be killed at any time: one file per repeat; existing ones are kept."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from kdbench import units
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.machine import fingerprint
from kdbench.machine.lock import machine_lock
from kdbench.progress import Silent

Values = dict[str, Any]

_COMMIT = 12  # characters that name one


def repeat(names: Sequence[str], settings: Values, folder: Path, measure: Callable[[str], Values]) -> list[Values]:
    """Call `measure` for each of `names` that has no file in `folder` yet; return the values of all, in order.

    Each repeat is kept with what the machine did meanwhile and the commit it was taken at. Raises InputError if the
    folder holds repeats taken with other settings.
    """
    _same_settings(settings, storage.make_folder(folder))
    missing = [name for name in names if not _file(folder, name).exists()]
    commit = _commit()
    spent_s = 0.0  # not waiting for others who measure
    for done, name in enumerate(missing):
        with machine_lock(_Printing()), watched() as machine:
            facts = measure(name)
        values = {"repeat": name, **facts, "machine": machine, "commit": commit}
        storage.write_json(_file(folder, name), values)
        spent_s += machine["seconds"]
        left_s = spent_s / (done + 1) * (len(missing) - done - 1)
        print(
            f"{name}: {len(names) - len(missing) + done + 1} of {len(names)}, {machine['others_cores']:.2f} cores busy "
            f"with other work, {units.duration(left_s)} to go",
            flush=True,
        )
    return kept(folder)


def kept(folder: Path) -> list[Values]:
    """Return the values of every repeat in `folder`, in order of name."""
    return [storage.read_json(path, "repeat") for path in sorted(folder.glob("repeat-*.json"))]


@contextmanager
def watched() -> Iterator[Values]:
    """Yield a dictionary that after the block says what the machine did meanwhile.

    `seconds`; `others_cores`, how many cores were busy with the work of others on average; `stolen_cores`, how many a
    hypervisor took away; `preemptions_per_s`, how often our processes had to leave their core: other work on that very
    core. Counters are read before and after only.
    """
    machine: Values = {}
    before, began = _counters(), time.monotonic()
    yield machine
    seconds = time.monotonic() - began
    busy, stolen, ours, preemptions = (after - b for after, b in zip(_counters(), before, strict=True))
    machine["seconds"] = round(seconds, 3)
    # The system counts in steps of 10 ms, which may be longer than a short block.
    cores = os.cpu_count() or 1
    machine["others_cores"] = round(min(max(busy - ours, 0.0) / seconds, cores), 3)
    machine["stolen_cores"] = round(min(stolen / seconds, cores), 3)
    machine["preemptions_per_s"] = round(preemptions / seconds, 2)


def _counters() -> tuple[float, float, float, float]:
    """Return CPU seconds so far (of all processes, stolen by a hypervisor, ours) and our involuntary switches.

    Ours is what this process and its ended children did.
    """
    times = psutil.cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    ours = sum(u.ru_utime + u.ru_stime for u in usage)
    return busy, times.steal, ours, sum(u.ru_nivcsw for u in usage)


class _Printing(Silent):
    """A watcher that prints what is worth a line of its own."""

    def note(self, text: str) -> None:
        print(text, flush=True)


def _same_settings(settings: Values, folder: Path) -> None:
    path = folder / "settings.json"
    if not path.exists():
        storage.write_json(path, settings)
    elif storage.read_json(path, "settings") != settings:
        raise InputError(
            f"{folder} holds repeats that were taken with other settings", "choose another --folder, or take the same"
        )


def _commit() -> str | None:
    facts = fingerprint.fingerprint()
    return f"{facts.git_commit[:_COMMIT]}{'+' if facts.git_dirty else ''}" if facts.git_commit else None


def _file(folder: Path, name: str) -> Path:
    return folder / f"repeat-{name}.json"
