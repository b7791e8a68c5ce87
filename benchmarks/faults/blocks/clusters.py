"""Sweeps on a Ray cluster of a head and two workers on this machine, whose processes are killed at random moments.

A trial kills the driver, a process that trains or measures, or the raylet of a worker node. It checks what `sweeps`
checks, and that no task ran beside a measurement on its node. Measurements only score, which is quick; they are
scheduled like all others. Each trial has its own cluster. Linux; needs kdbench[cluster].
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults import noting
from benchmarks.faults.blocks.sweeps import RECIPE
from benchmarks.faults.commands import descendants, environment_of, last_words, leftovers, new_place, run, start
from benchmarks.faults.lasting import differences, done_again, lasting, marks
from benchmarks.faults.noting import LOG, Work, measured_together, works
from benchmarks.faults.patience import Patience, ended
from benchmarks.faults.trial import Trial

ROOT = Path(__file__).parents[3]
LOOPBACK = ROOT / "tests" / "workflows" / "sweeping" / "execution" / "cluster" / "loopback.py"
MEASURING = {"resources": {"kdbench_measure": 1}, "labels": {"device": "this"}}
NODES = [{"num_cpus": 1, **MEASURING}, {"num_cpus": 0, **MEASURING}, {"num_cpus": 1}]
KEYS = {"student.kd.terms.0.temperature": (1, 10), "student.kd.training.optimizer.lr": (0.003, 0.01)}
_MAIN = """
import sys
from kdbench.cli.main import main
from kdbench.workflows.sweeping.execution.cluster import engine
engine.PERFORM = "benchmarks.faults.blocks.clusters:perform"
sys.exit(main())
"""
NOTING = (sys.executable, "-P", "-c", _MAIN)
_KILLS = 4  # of a sweep; one task may lose its process twice
_VICTIMS = ("driver", "train", "train", "measure", "measure", "raylet")
_LIMIT_S = 600
_NEXT_S = 5  # until a task of a kind begins


def trials(_folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Kill processes of `count` sweeps, a few times each; afterwards they have the results of a plain run."""
    rng = random.Random(seed)
    with new_place() as place:
        axes = ", ".join(f'"{key}" = {list(values)}' for key, values in KEYS.items())
        (place / "recipe.toml").write_text(RECIPE)
        scoring = RECIPE.replace("measure = {", "measure = { times = false,")
        (place / "plain.toml").write_text(f"{scoring}\n[sweep]\naxes = {{ {axes} }}\n")
        (place / "quick").mkdir()
        (place / "quick" / "rfc3987_syntax.py").write_text("raise ImportError\n")  # slow, and not needed by Ray
        code, text = run(place, "run", "plain.toml", "--out", "plain", limit_s=_LIMIT_S)
        assert code == 0, text
        expected = lasting(place / "plain")
        for number in range(count):
            yield _killed(rng, place, f"killed-{number}", expected)


def perform(message: Mapping[str, Any], progress: Any) -> None:
    """Do a task as a node does, but only score where it would measure."""
    noting.perform({**message, "timed": [], "reference": None}, progress)


def _killed(rng: random.Random, place: Path, out: str, expected: dict[str, Any]) -> Trial:
    """Kill something of a sweep a few times; resume it wherever it ended, and let it end."""
    log = place / f"{out}.tasks"
    faults: list[str] = []
    kills: list[str] = []
    variables = {
        LOG: str(log),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{place / 'quick'}",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    with _cluster(environment_of(place, **variables), place / f"{out}.cluster") as (cluster, address):
        axes = [f"--axis={key}={','.join(map(str, values))}" for key, values in KEYS.items()]
        arguments = ("sweep", "recipe.toml", *axes, "--on", address, "--measure-on", "this", "--out", out)
        options: dict[str, Any] = {"log": f"{out}.log", "command": NOTING, **variables}
        driver, standing = start(place, *arguments, **options), marks(place / out)
        while len(kills) < _KILLS and driver.poll() is None:
            victim = rng.choice(_VICTIMS)
            time.sleep(rng.uniform(0.0, 4.0))
            if not works(log):
                continue
            if victim == "driver":
                driver.kill()
                driver.wait()
                standing = marks(place / out)
                driver = start(place, *arguments, "--resume", **options)
            elif not (_kill_raylet(rng, cluster) if victim == "raylet" else _kill_worker(rng, log, victim)):
                continue
            kills.append(victim)
            faults += done_again(standing, place / out)
        code = ended(driver, _LIMIT_S)
        if code == 3:  # a task lost its process three times
            code = ended(start(place, *arguments, "--resume", **options), _LIMIT_S)
        if code != 0:
            faults.append(f"{'did not end' if code is None else f'exit {code}'}: {last_words(place, f'{out}.log')}")
        faults += done_again(standing, place / out)
    if code == 0:
        faults += differences(lasting(place / out), expected)
    faults += measured_together(works(log))
    faults += [] if kills else ["nothing was killed"]
    faults += [left] if (left := leftovers(place)) else []
    return Trial("clusters", f"SIGKILL of {', '.join(kills)}", "survived", tuple(faults))


@contextmanager
def _cluster(environment: dict[str, str], log: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Yield the process that runs a cluster, and the address of its head; write its errors to `log`."""
    command = [sys.executable, str(LOOPBACK), json.dumps(NODES)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        log.open("w") as errors,
        subprocess.Popen(command, env=environment, start_new_session=True, stderr=errors, **pipes) as process,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        started = next((json.loads(line) for line in process.stdout if line.startswith('{"address"')), None)
        if started is None:
            message = f"the cluster ended with code {process.wait()}: {last_words(log.parent, log.name)}"
            raise AssertionError(message)
        try:
            yield psutil.Process(process.pid), started["address"]
        finally:
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(120)
            process.kill()


def _kill_raylet(rng: random.Random, cluster: psutil.Process) -> bool:
    """Kill the raylet of a worker node, and with it the node; return whether there is one."""
    raylets = [one for one in descendants(cluster.pid) if _name(one) == "raylet"]
    workers = sorted(raylets, key=lambda one: one.create_time())[1:]  # the first one is the head's
    if not workers:
        return False
    rng.choice(workers).kill()
    return True


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.name())
    return ""


def _kill_worker(rng: random.Random, log: Path, kind: str) -> bool:
    """Kill a process that does a task of a kind, as soon as there is one; return whether there was."""
    patience = Patience(_NEXT_S)
    while patience.lasts():
        if now := [work.pid for work in works(log) if work.kind == kind and work.ended_s is None and _lives(work)]:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(now), signal.SIGKILL)
                return True
        time.sleep(0.05)
    return False


def _lives(work: Work) -> bool:
    """Return whether the process of a task, and no later one with its id, still runs."""
    with suppress(psutil.Error):
        return bool(psutil.Process(work.pid).create_time() <= work.began_s and time.time() - work.lived_s < 1.0)
    return False
