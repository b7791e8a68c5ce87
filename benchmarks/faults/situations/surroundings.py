"""Other users and their locks, modules in the current folder, no home, no output, limits."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.faults.commands import bench, environment_of, leftovers, run

_LOCK = """
import os
from kdbench.machine.lock import machine_lock
from kdbench.progress import Silent
os.umask({umask}); os.setgid({user}); os.setuid({user})
with machine_lock(Silent()): pass
"""


def planted_lock(rng: random.Random, place: Path) -> tuple[str, str]:
    """Something else has the lock's name: it is neither followed, emptied nor given other permissions."""
    what = rng.choice(["link", "dangling link", "pipe", "folder", "file"])
    lock, victim = place / "locks" / "kdbench-measuring.lock", place / "victim"
    lock.parent.mkdir(exist_ok=True)
    victim.write_text("precious")
    victim.chmod(0o600)
    absent = place / "absent"
    match what:
        case "link":
            lock.symlink_to(victim)
        case "dangling link":
            lock.symlink_to(absent)
        case "pipe":
            os.mkfifo(lock)
        case "folder":
            lock.mkdir()
        case "file":
            os.link(victim, lock)
    code, text = run(place, *bench(place), "--out", str(place / "out"))
    expected = 0 if what == "file" else 3
    faults = [f"exit {code}: {text}"] if code != expected else []
    if victim.read_text() != "precious" or victim.stat().st_mode & 0o777 != 0o600 or absent.exists():
        faults.append("a foreign file was changed")
    return f"a {what} in the lock's place", "; ".join(faults)


def second_user(rng: random.Random, place: Path) -> tuple[str, str]:
    """Another user, or root after a user, takes the same lock in a shared sticky folder."""
    locks = place / "locks"
    locks.mkdir()
    locks.chmod(0o1777)
    place.chmod(0o755)
    users, umask = rng.sample([0, 65534, 1234], 2), rng.choice([0o022, 0o077])
    faults = []
    for user in users:
        code = _LOCK.format(umask=umask, user=user)
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], env=environment_of(place), capture_output=True, text=True, check=False
        )
        if done.returncode:
            faults.append(f"user {user}: {done.stderr.strip().splitlines()[-1]}")
    return f"users {users} in turn, umask {umask:o}", "; ".join(faults)


def shadowed(rng: random.Random, place: Path) -> tuple[str, str]:
    """Start in a folder of modules with the names of standard ones: no process runs them."""
    folder, ran = place / "shadow", place / "ran"
    folder.mkdir()
    for name in ("json", "signal", "subprocess", "platform", "logging", "numpy", "argparse", "ctypes"):
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write('{name} '); raise SystemExit(9)\n")
    path = os.environ.get("PYTHONPATH", "")
    extra = rng.choice(["", os.pathsep]) if path else ""
    arguments = ("--estimate-energy", "--energy", "quick", "--out", str(place / "out"))
    # The parent's own path is its user's; what counts is what it starts.
    code, text = run(place, *bench(place), *arguments, cwd=folder)
    probe = f"import os; os.environ['PYTHONPATH'] = {path + extra!r}; from kdbench.meters.codecarbon import CodeCarbon"
    subprocess.run(
        [sys.executable, "-P", "-c", f"{probe}; print(CodeCarbon().available())"],
        env=environment_of(place), cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    faults = [f"ran {ran.read_text()}"] if ran.exists() else []
    return "modules in the current folder", "; ".join([*faults, *([f"exit {code}: {text}"] if code else [])])


def homeless(rng: random.Random, place: Path) -> tuple[str, str]:
    """HOME cannot be used: progress lines stay kdbench's own."""
    home = rng.choice(["/proc/nowhere", "/dev/null", str(place / "file")])
    (place / "file").write_text("")
    arguments = ("--estimate-energy", "--energy", "quick", "--out", str(place / "out"))
    code, text = run(place, *bench(place), *arguments, HOME=home, whole=True)
    known = re.compile(r"\[\d/\d\] |      |warning: |  |hint: |report: | |$|¹|²|³|\*|Summary")
    foreign = [line for line in text.splitlines() if not known.match(line)]
    faults = [f"foreign lines: {foreign[:2]}"] if foreign else []
    return f"HOME={home}", "; ".join([*faults, *([f"exit {code}"] if code else [])])


def unwritable_output(rng: random.Random, place: Path) -> tuple[str, str]:
    """Progress or results go to a full disk or a closed pipe: the work is done all the same."""
    target, full = rng.choice([("2>/dev/full", 0), ("2>&-", 0), (">&-", 0), (">/dev/full", 3), ("2> >(head -c1)", 0)])
    shell = ("bash", "-c", f'exec "$@" {target}', "bash")
    code, text = run(place, *bench(place), "--energy", "off", "--out", str(place / "out"), before=shell)
    faults = [f"exit {code}: {text}"] if code != full else []
    if not (place / "out" / "record.json").exists():
        faults.append("nothing was measured")
    return f"output {target}", "; ".join([*faults, *filter(None, [leftovers(place)])])


def limited(rng: random.Random, place: Path) -> tuple[str, str]:
    """Memory, open files or processes are limited: it works, or says what ran out."""
    limit = rng.choice(["-v 200000", "-v 400000", "-v 800000", "-v 1500000", "-n 8", "-n 16", "-n 32", "-s 64"])
    shell = ("bash", "-c", f'ulimit {limit}; exec "$@"', "bash")
    code, text = run(place, *bench(place), "--energy", "off", "--out", str(place / "out"), before=shell)
    before_main = "internal error" not in text and any(name in text for name in ("MemoryError", "ImportError"))
    fault = "" if code in {0, 3} or before_main else f"exit {code}: {text}"
    return f"ulimit {limit}", "; ".join(filter(None, [fault, leftovers(place)]))
