"""Every command ended by a signal at a random moment, on a disk that fills up, or beside another one; then once more.

Nothing may be left but what the command says, a second try has to succeed, and no process may outlive the first. The
disk is a tmpfs of less than the command needs: root on Linux; without it that kind is left out.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.faults.commands import alive_after, descendants, leftovers
from benchmarks.faults.forking import ended, forked, load, start
from benchmarks.faults.material.finished import AGAIN, COMMANDS, Command, build
from benchmarks.faults.situations.disks import DISK_WORDS
from benchmarks.faults.trial import Ended, Trial

_CODES = {"SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130, "SIGQUIT": 131, "SIGKILL": -9}
ENDINGS = ("SIGTERM", "SIGHUP", "SIGINT", "SIGINT twice", "SIGKILL", "SIGTERM stopped", "SIGTERM workers-stopped")
"""A signal and in what way it comes: also to a process that is stopped, or whose children are."""
_OUTPUTS = {
    "run": "out", "verdict": "out", "report": "out", "bench": "benched", "images": "pictured", "compress": "small",
    "sweep": "swept", "bundle": "packed", "history": "past", "merge": "out",
}  # fmt: skip
_ADDING = frozenset({"verdict", "report", "merge"})  # to a run that stays
_RESUMED = frozenset({"run", "sweep"})
_READ = "read"  # what a bench is about to write
# In one folder: the same command twice, and commands of which one reads what the other writes.
_PAIRS = (
    ("bench", "bench"), ("sweep", "sweep"), ("run", "run"), ("compress", "compress"), ("bundle", "bundle"),
    ("merge", "verdict"), ("merge", "report"), ("merge", "merge"), ("verdict", "verdict"), ("report", "report"),
    ("bench", _READ), ("report", "run"), ("history", "history"), ("history", "merge"), ("bundle", "merge"),
    ("compare", "merge"), ("run", "bench"), ("show", "merge"),
)  # fmt: skip
_LIMIT_S = 120.0
_PAGE = 4096
_SPACE = 256 << 20  # bytes, of a disk that has enough

Starter = Callable[[Command, Path], int]


def trials(folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """End `count` commands, by a signal, by a full disk and beside another one in turn."""
    os.environ["KDBENCH_CACHE"] = str(folder / "cache")
    os.environ["KDBENCH_LOCK_DIR"] = str(folder / "locks")  # others may measure here meanwhile
    load()
    build(folder / "base")
    dice, names = random.Random(seed), [*_OUTPUTS]
    pairs = dice.sample(_PAIRS, len(_PAIRS))
    needs: dict[str, tuple[float, int]] = {}
    kinds = ("signalled", "filled", "signalled", "together")
    for number in range(count):
        place, turn = folder / str(number), number // len(kinds)
        kind = kinds[number % len(kinds)]
        if kind == "together":
            shutil.copytree(folder / "base", place)
            yield _together(*pairs[turn % len(pairs)], dice, place)
        else:
            name = names[(turn * 2 + number % len(kinds) // 2) % len(names)]
            if name not in needs:
                shutil.copytree(folder / "base", folder / "need")
                needs[name] = _need(name, folder / "need")
                shutil.rmtree(folder / "need")
            shutil.copytree(folder / "base", place)
            if kind == "signalled":
                yield _signalled(name, dice, place, needs[name][0])
            elif os.geteuid() == 0:
                yield _filled(name, dice, place, needs[name][1])
        shutil.rmtree(place, ignore_errors=True)


def _command(name: str) -> Command:
    command = {**AGAIN, **COMMANDS, _READ: ("report", "benched", "--format", "md,json")}[name]
    return (*command[:-1], "packed/bundle.zip") if name == "bundle" else command


def _environment(place: Path) -> dict[str, str]:
    (place / "tmp").mkdir(exist_ok=True)
    return {"TMPDIR": str(place / "tmp")}


def _start(command: Command, place: Path) -> int:
    return start(command, place, _environment(place))


def _clear(name: str, place: Path) -> None:
    """Remove what the command is going to make."""
    if name in _OUTPUTS and name not in _ADDING:
        shutil.rmtree(place / _OUTPUTS[name], ignore_errors=True)
    if name == "bundle":
        (place / "packed").mkdir()


def _need(name: str, place: Path) -> tuple[float, int]:
    """Return the seconds that a command takes, and the bytes that it writes at least."""
    before = _bytes(place / _OUTPUTS[name]) if name in _ADDING else 0
    _clear(name, place)
    begin = time.monotonic()
    done = forked(_command(name), place, 600.0, _environment(place))
    assert done.code in {0, 1, 2}, (name, done)
    return time.monotonic() - begin, max(_bytes(place / _OUTPUTS[name]) - before, 16 * _PAGE)


def _bytes(folder: Path) -> int:
    return sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in folder.rglob("*") if path.is_file())


def _signalled(name: str, dice: random.Random, place: Path, seconds: float) -> Trial:
    """Send a signal to the command at a moment of its time, and run it again."""
    _clear(name, place)
    ending, delay_s = dice.choice(ENDINGS), dice.random() * seconds
    done, faults = signalled(_start, _command(name), place, ending, delay_s)
    faults += _again(name, place)
    return Trial("endings", f"{name}: {ending} {delay_s:.2f} of {seconds:.2f} s in", done.outcome, tuple(faults))


def signalled(start_in: Starter, command: Command, place: Path, ending: str, delay_s: float) -> tuple[Ended, list[str]]:
    """Send a signal to a command some time after its start; return how it ended and what was wrong with that.

    `start_in` starts a command in a folder, and returns the process.
    """
    name, _, way = ending.partition(" ")
    number = getattr(signal, name)
    child = start_in(command, place)
    time.sleep(delay_s)
    below = descendants(child)
    for process in {"stopped": [child], "workers-stopped": [one.pid for one in below]}.get(way, ()):
        _kill(process, signal.SIGSTOP)
    _kill(child, number)
    if way == "twice":
        time.sleep(0.02)
        _kill(child, number)
    if way == "stopped":
        time.sleep(0.1)
        _kill(child, signal.SIGCONT)
    done = ended(child, place, _LIMIT_S)
    faults = ["did not end"] if done.code is None else []
    # A signal that comes before kdbench watches for it ends the process as it ends any.
    early = done.code == -number or (name == "SIGINT" and "uncaught KeyboardInterrupt" in done.errors)
    if done.code not in {None, 0, 1, 2, _CODES[name]} and not early:
        faults.append(f"exit code {done.code}: {done.errors.strip()[-300:]}")
    if alive := alive_after(below, 1.0):
        faults.append(f"{len(alive)} workers alive")
    if name != "SIGKILL" and (left := leftovers(place)):
        faults.append(left)
    return done, faults


def _kill(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _filled(name: str, dice: random.Random, place: Path, needed: int) -> Trial:
    """Run the command where its output's disk has too little space, then with space again."""
    output, size = place / _OUTPUTS[name], int(needed * dice.random()) // _PAGE * _PAGE
    kept = place / "kept"
    if name in _ADDING:
        shutil.copytree(output, kept)
        size += _bytes(kept)
    _clear(name, place)
    output.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(size, _PAGE)}", "tmpfs", str(output)], check=True)
    try:
        if kept.exists():
            shutil.copytree(kept, output, dirs_exist_ok=True)
        done = forked(_command(name), place, _LIMIT_S, _environment(place))
        faults = list(done.found)
        if done.code == 3 and not any(words in done.errors for words in DISK_WORDS):
            faults.append(f"other words: {done.errors.strip()[-300:]}")
        faults += [left] if (left := leftovers(place)) else []
        subprocess.run(["mount", "-o", f"remount,size={_SPACE}", str(output)], check=True)
        faults += _again(name, place)
    finally:
        subprocess.run(["umount", "-l", str(output)], check=True)
    return Trial("endings", f"{name}: a disk of {size} of {needed} bytes", done.outcome, tuple(faults))


def _together(first: str, second: str, dice: random.Random, place: Path) -> Trial:
    """Run two commands in one folder at about the same time: each works, or says who is in its way; then again."""
    for name in dict.fromkeys((first, second)):
        if first == second or name not in _RESUMED:
            _clear(name, place)
    delay_s = dice.random() ** 2 * 2
    children = []
    for turn, name in enumerate((first, second)):
        time.sleep(delay_s * turn)
        resumed = ("--resume",) if name in _RESUMED and first != second else ()
        children.append(start((*_command(name), *resumed), place, _environment(place), log=f"{turn}-"))
    faults, outcomes = [], []
    for turn, (name, child) in enumerate(zip((first, second), children, strict=True)):
        done = ended(child, place, _LIMIT_S, log=f"{turn}-")
        outcomes.append(done.outcome)
        faults += [f"{name}: {one}" for one in done.found]
        if done.code == 3 and name != _READ and not any(words in done.errors for words in ("in use by", "already")):
            faults.append(f"{name}: other words: {done.errors.strip()[-300:]}")
    faults += [left] if (left := leftovers(place)) else []
    for name in dict.fromkeys((first, second)):
        faults += _again(name, place)
    what = f"{first} and {second}, {delay_s:.2f} s apart"
    return Trial("endings", what, ", ".join(outcomes), tuple(faults))


def _again(name: str, place: Path) -> list[str]:
    """Run the command again, so that it continues; return what is wrong then."""
    command = _command(name)
    if name in _RESUMED and any((place / _OUTPUTS[name]).glob("*.json")):
        command = (*command, *(() if "--resume" in command else ("--resume",)))
    done = forked(command, place, _LIMIT_S, _environment(place))
    proper = done.code in {0, 1, 2} or (done.code == 3 and "already" in done.errors)
    faults = [] if proper else [f"again: {done.outcome}: {done.errors.strip()[-300:]}"]
    return [*faults, *([f"again: {left}"] if (left := leftovers(place)) else [])]
