"""Signals at any stage, owners and workers that die or stop, a folder that two processes claim."""

import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.faults.commands import (
    LIMIT_S,
    alive_after,
    bench,
    descendants,
    is_alive,
    last_words,
    leftovers,
    run,
    says,
    send,
    start,
)
from benchmarks.faults.patience import Patience, ended

SIGNALS = {"SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130, "SIGINT twice": 130, "SIGKILL": -9}
STAGES = {"training": r"\] train ", "export": r"\] export", "measuring": r"\] measure", "report": r"\] report"}


def killed(rng: random.Random, place: Path) -> tuple[str, str]:
    """End a run by a signal in a stage, perhaps with a stopped worker; afterwards nothing is left, and it resumes."""
    name, stage = rng.choice(list(SIGNALS)), rng.choice(list(STAGES))
    stopped = rng.choice(["", "", "worker", "parent"]) if stage == "measuring" else ""
    delay_s = rng.random() ** 2 * 2
    trial = f"{name} during {stage}, {delay_s:.2f} s in{f', {stopped} stopped' if stopped else ''}"
    out = place / "out"
    owner = start(place, "run", str(place / "recipe.toml"), "--out", str(out))
    if not says(owner, STAGES[stage]):
        return trial, f"never reached the stage: {last_words(place)}"
    time.sleep(delay_s)
    workers = descendants(owner.pid)
    for process in {"worker": workers, "parent": [psutil.Process(owner.pid)]}.get(stopped, ()):
        with suppress(psutil.Error):
            process.suspend()
    send(owner, name)
    if stopped == "parent":
        time.sleep(rng.random())
        owner.send_signal(signal.SIGCONT)
    if (code := ended(owner, LIMIT_S)) is None:
        return trial, "did not end"
    if code == 0:
        return trial, leftovers(place)  # it was faster
    alive = alive_after(workers, 1.0)
    faults = [f"exit code {code}"] if code != SIGNALS[name] else []
    faults += [f"{len(alive)} workers alive"] if alive else []
    if name != "SIGKILL" and (left := leftovers(place)):
        faults.append(left)
    again, text = run(place, "run", str(place / "recipe.toml"), "--out", str(out), "--resume")
    faults += [f"resume: exit {again}: {text}"] if again else []
    faults += [left] if (left := leftovers(place)) else []
    return trial, "; ".join(faults)


def killed_owner(rng: random.Random, place: Path) -> tuple[str, str]:
    """Kill the owner of the measuring lock while another waits: their measuring processes never overlap."""
    stopped = rng.random() < 0.3
    first = start(place, *bench(place), "--out", str(place / "a"), log="first")
    if not says(first, STAGES["measuring"], log=place / "first"):
        return "owner killed", f"never measured: {last_words(place, 'first')}"
    second = start(place, *bench(place), "--out", str(place / "b"), log="second")
    says(second, "waiting for it to finish", log=place / "second")
    time.sleep(rng.random())
    workers = descendants(first.pid)
    if stopped:
        for worker in workers:
            with suppress(psutil.Error):
                worker.suspend()
    first.kill()
    overlap, patience = False, Patience(LIMIT_S)
    while second.poll() is None and patience.lasts():
        theirs = [worker for worker in workers if is_alive(worker)]
        overlap |= bool(theirs and descendants(second.pid) and any(map(is_alive, theirs)))
        if not theirs:
            break
        time.sleep(0.002)
    faults = ["both measured"] if overlap else []
    faults += ["the other did not finish"] if ended(second, LIMIT_S) else []
    return f"owner killed{', workers stopped' if stopped else ''}", "; ".join(faults)


def ended_worker(rng: random.Random, place: Path) -> tuple[str, str]:
    """End or stop a measuring process while its owner lives: the others continue, and the record has the reason."""
    name = rng.choice(["SIGKILL", "SIGTERM", "SIGSEGV", "SIGSTOP"])
    owner = start(place, *bench(place), "--energy", "off", "--out", str(place / "out"))
    if not says(owner, STAGES["measuring"]):
        return f"worker {name}", f"never measured: {last_words(place)}"
    patience = Patience(LIMIT_S)
    delay_s = rng.random() * 3
    time.sleep(delay_s)
    while not (workers := descendants(owner.pid)) and owner.poll() is None and patience.lasts():
        time.sleep(0.005)
    for worker in workers:
        with suppress(psutil.Error):
            worker.send_signal(getattr(signal, name))
    trial = f"worker {name}, {delay_s:.2f} s in"
    if (code := ended(owner, LIMIT_S)) is None:
        return trial, "did not end"
    faults = [f"exit code {code}: {last_words(place)}"] if code not in {0, 3} else []
    if code == 0 and not (place / "out" / "record.json").exists():
        faults.append("exit 0 without a record")
    return trial, "; ".join(filter(None, [*faults, leftovers(place)]))


def stopped_owner(rng: random.Random, place: Path) -> tuple[str, str]:
    """Stop the owner of the lock and then kill it: nobody measures beside its processes, and the next one finishes."""
    first = start(place, *bench(place), "--out", str(place / "a"), log="first")
    if not says(first, STAGES["measuring"], log=place / "first"):
        return "owner stopped", f"never measured: {last_words(place, 'first')}"
    time.sleep(rng.random())
    workers = descendants(first.pid)
    first.send_signal(signal.SIGSTOP)
    second = start(place, *bench(place), "--out", str(place / "b"), log="second")
    says(second, "waiting for it to finish", log=place / "second")
    time.sleep(rng.random() * 2)
    overlap = any(map(is_alive, workers)) and any(map(is_alive, descendants(second.pid)))
    first.kill()
    first.wait()
    faults = ["both measured"] if overlap else []
    faults += {0: [], None: ["the other did not end"]}.get(ended(second, LIMIT_S), ["the other did not finish"])
    faults += ["workers alive"] if alive_after(workers, 1.0) else []
    return "owner stopped, then killed", "; ".join(faults)


def claimed_twice(rng: random.Random, place: Path) -> tuple[str, str]:
    """Begin two benches at about the same time in one folder: one works, the other is told who it is."""
    out, delay_s = place / "out", rng.random()
    first = start(place, *bench(place), "--out", str(out), log="first")
    time.sleep(delay_s)
    second = start(place, *bench(place), "--out", str(out), log="second")
    codes = sorted((ended(process, LIMIT_S) for process in (first, second)), key=str)
    text = last_words(place, "first") + last_words(place, "second")
    pids = (first.pid, second.pid)
    refused = any(f"in use by process {pid} on " in text for pid in pids) or "already holds" in text
    faults = [f"exit codes {codes}: {text}"] if codes != [0, 3] else []
    faults += [] if refused else [f"not told who: {text}"]
    return f"two benches {delay_s:.2f} s apart", "; ".join(filter(None, [*faults, leftovers(place)]))
