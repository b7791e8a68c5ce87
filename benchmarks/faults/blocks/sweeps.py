"""Local sweeps whose processes are killed at random moments and gone on with, extended, and with a point that fails.

The driver, a process that trains or one that measures is killed. Found is a point that is missing, weights or scores
that differ from those of a sweep that nothing happened to or of a plain run of the same recipe, a training or
measurement that was done again although its result stood, a task that ran while a measurement did, and files that are
left. Linux.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults.commands import descendants, last_words, leftovers, new_place, run, start
from benchmarks.faults.lasting import differences, done_again, lasting, marks
from benchmarks.faults.noting import LOG, NOTING, Work, measured_together, works
from benchmarks.faults.trial import Trial

RECIPE = """
name = "faults"
data = { name = "digits", validation = 0.2 }
training = { epochs = 6, batch = 32, threads = 1, optimizer = { name = "adamw", lr = 1e-2, weight_decay = 0.01 } }
measure = { sessions = 2, budget_s = 0.1, energy = "off" }
teacher = [{ name = "teacher", model = { name = "dense", hidden = [64] } }]
student = [
  { name = "alone", model = { name = "dense", hidden = [8] } },
  { name = "kd", model = { name = "dense", hidden = [8] }, terms = [{ method = "kd" }] },
]
"""
KEYS = ("student.kd.terms.0.temperature", "student.kd.training.optimizer.lr")
TEMPERATURES, RATES = (1, 10), (0.003, 0.01, 0.1)  # few: what a kill meets does not depend on how many follow
LONGER_TEMPERATURES = (*TEMPERATURES, 20)
DIVERGING = 1e6  # the weights decay by lr * weight_decay: they grow ten-thousandfold a step
_KILLS = 5  # of a sweep
_VICTIMS = ("driver", "driver and workers", "train", "measure", "measure")
_LIMIT_S = 3600


def trials(_folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Kill processes of `count` sweeps, five times each; then extend one, and let a point of another fail."""
    rng = random.Random(seed)
    with new_place() as place:
        (place / "recipe.toml").write_text(RECIPE)
        began = time.monotonic()
        code, text = _sweep(place, "whole")
        assert code == 0, text
        took_s, expected = time.monotonic() - began, lasting(place / "whole")
        yield Trial("sweeps", "a sweep and a plain run", "compared", tuple(_plain(place, expected)))
        for number in range(count):
            yield _killed(rng, place, f"killed-{number}", took_s, expected)
        yield _extended(place)
        yield _failing(place, expected)


def _arguments(out: str, values: tuple[Any, ...], seeds: int) -> tuple[str, ...]:
    axes = [f"--axis={key}={','.join(map(str, listed))}" for key, listed in zip(KEYS, values, strict=True)]
    return ("sweep", "recipe.toml", *axes, "--seeds", str(seeds), "--out", out)


def _sweep(
    place: Path, out: str, values: tuple[Any, ...] = (TEMPERATURES, RATES), seeds: int = 1, *, resume: bool = False
) -> tuple[int, str]:
    return run(place, *_arguments(out, values, seeds), *(("--resume",) if resume else ()), limit_s=_LIMIT_S)


def _plain(place: Path, expected: dict[str, Any]) -> list[str]:
    """Compare with a run of the same points by `kdbench run`."""
    axes = ", ".join(f'"{key}" = {list(values)}' for key, values in zip(KEYS, (TEMPERATURES, RATES), strict=True))
    (place / "plain.toml").write_text(f"{RECIPE}\n[sweep]\naxes = {{ {axes} }}\n")
    code, text = run(place, "run", "plain.toml", "--out", "plain", limit_s=_LIMIT_S)
    return [f"plain run: exit {code}: {text}"] if code else differences(lasting(place / "plain"), expected)


def _killed(rng: random.Random, place: Path, out: str, took_s: float, expected: dict[str, Any]) -> Trial:
    """Kill something of a sweep several times; resume it wherever it ended, and let it end."""
    log, arguments, faults, kills = place / f"{out}.tasks", _arguments(out, (TEMPERATURES, RATES), 1), [], []
    options: dict[str, Any] = {"log": f"{out}.log", "command": NOTING, LOG: str(log)}
    process, standing = start(place, *arguments, **options), marks(place / out)
    while len(kills) < _KILLS:
        time.sleep(rng.uniform(0.05, 0.3) * took_s)
        if process.poll() is not None:  # it completed, or gave up a task that was killed three times
            break
        victim = rng.choice(_VICTIMS)
        if victim.startswith("driver"):
            _end(process, with_workers=victim != "driver")
            standing = marks(place / out)
            process = start(place, *arguments, "--resume", **options)
        elif not _end_worker(rng, works(log), victim, process):
            continue
        kills.append(victim)
        faults += done_again(standing, place / out)
    process.wait()
    code, text = _sweep(place, out, resume=True)
    faults += [f"resume: exit {code}: {text}"] if code else []
    faults += done_again(standing, place / out)
    faults += differences(lasting(place / out), expected) if not code else [last_words(place, f"{out}.log")]
    faults += measured_together(works(log))
    faults += [left] if (left := leftovers(place)) else []
    return Trial("sweeps", f"SIGKILL of {', '.join(kills)}", "survived", tuple(faults))


def _end(process: Any, *, with_workers: bool) -> None:
    workers = descendants(process.pid)
    process.kill()  # the workers notice that their parent is gone
    for worker in workers if with_workers else ():
        with suppress(psutil.Error):
            worker.kill()
    process.wait()


def _end_worker(rng: random.Random, begun: list[Work], kind: str, driver: Any) -> bool:
    """Kill a process that does a task of a kind now; return whether there is one."""
    children = {process.pid for process in descendants(driver.pid)}
    now = [work.pid for work in begun if work.kind == kind and work.ended_s is None and work.pid in children]
    if not now:
        return False
    with suppress(ProcessLookupError):
        os.kill(rng.choice(now), signal.SIGKILL)
        return True
    return False


def _extended(place: Path) -> Trial:
    """Add a value and a seed to a finished sweep: what was there stays, and the rest is that of one sweep."""
    standing, longer = marks(place / "whole"), (LONGER_TEMPERATURES, RATES)
    code, text = _sweep(place, "whole", longer, 2, resume=True)
    faults = [f"exit {code}: {text}"] if code else done_again(standing, place / "whole", names=False)
    once, _ = _sweep(place, "longer", longer, 2)
    faults += [f"in one go: exit {once}"] if once else []
    if not faults:
        faults = differences(lasting(place / "whole"), lasting(place / "longer"))
    return Trial("sweeps", f"a value and a seed more, {len(standing)} results stood", "extended", tuple(faults))


def _failing(place: Path, expected: dict[str, Any]) -> Trial:
    """Let the trainings with one rate diverge: those with the others complete, and the exit code is 3."""
    code, text = _sweep(place, "failing", (TEMPERATURES, (*RATES, DIVERGING)))
    contents = lasting(place / "failing")
    faults = [] if code == 3 else [f"exit {code}: {text}"]
    faults += [
        f"{key} differs" for key in expected if str(key).endswith("tensors") and contents.get(key) != expected[key]
    ]
    measured, known = ({key[0] for key in one if isinstance(key, tuple)} for one in (contents, expected))
    faults += [f"{model} completed" for model in sorted(measured - known)]
    return Trial("sweeps", "a rate at which trainings diverge", "exit 3", tuple(faults))
