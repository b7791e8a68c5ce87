"""Processes and files: kills at any moment, owners that die, folders claimed twice, full disks, hostile folders.

Linux. Trials that need root (another user, a disk of a few KiB, a read-only /tmp) are left out without it.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.faults.trial import COMMAND, Trial

RECIPE = """
name = "faults"
data = { name = "digits", validation = 0.2 }
training = { epochs = 3, batch = 64, threads = 1 }
measure = { sessions = 2, budget_s = 0.1, energy = "off" }
teacher = [{ name = "teacher", model = { name = "dense", hidden = [16] } }]
student = [
  { name = "student", teacher = "teacher", model = { name = "dense", hidden = [8] }, terms = [{ method = "kd" }] }
]
"""
LIMIT_S = 300
SIGNALS = {"SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130, "SIGINT twice": 130, "SIGKILL": -9}
STAGES = {"training": r"\] train ", "export": r"\] export", "measuring": r"\] measure", "report": r"\] report"}
DISK_WORDS = ("the disk is full", "may not grow larger", "quota")


def trials(_folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Yield trials of every kind in turn."""
    rng, root = random.Random(seed), os.geteuid() == 0
    kinds = [killed, killed_owner, killed, claimed_twice, killed, full_file, planted_lock, shadowed, homeless]
    kinds += [unwritable_output, limited]
    kinds += [full_disk, second_user, read_only] if root else []
    for number in range(count):
        with _place() as place:
            what, fault = kinds[number % len(kinds)](rng, place)
        yield Trial("processes", what, "survived", (fault,) if fault else ())


# --- kills -------------------------------------------------------------------------------------------------------


def killed(rng: random.Random, place: Path) -> tuple[str, str]:
    """End a run by a signal in a stage, perhaps with a stopped worker; afterwards nothing is left, and it resumes."""
    name, stage = rng.choice(list(SIGNALS)), rng.choice(list(STAGES))
    stopped = stage == "measuring" and rng.random() < 0.5
    delay_s = rng.random() ** 2 * 2
    trial = f"{name} during {stage}, {delay_s:.2f} s in{', worker stopped' if stopped else ''}"
    out = place / "out"
    run = _start(place, "run", str(place / "recipe.toml"), "--out", str(out))
    if not _says(run, STAGES[stage]):
        return trial, f"never reached the stage: {_last(place)}"
    time.sleep(delay_s)
    workers = _descendants(run)
    if stopped:
        for worker in workers:
            with suppress(psutil.Error):
                worker.suspend()
    _signal(run, name)
    try:
        code = run.wait(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        run.kill()
        return trial, "did not end"
    if code == 0:
        return trial, _leftovers(place)  # it was faster
    alive = _alive_after(workers, 1.0)
    faults = [f"exit code {code}"] if code != SIGNALS[name] else []
    faults += [f"{len(alive)} workers alive"] if alive else []
    if name != "SIGKILL" and (left := _leftovers(place)):
        faults.append(left)
    again, text = _run(place, "run", str(place / "recipe.toml"), "--out", str(out), "--resume")
    faults += [f"resume: exit {again}: {text}"] if again else []
    faults += [left] if (left := _leftovers(place)) else []
    return trial, "; ".join(faults)


def killed_owner(rng: random.Random, place: Path) -> tuple[str, str]:
    """Kill the owner of the measuring lock while another waits: their measuring processes never overlap."""
    stopped = rng.random() < 0.3
    first = _start(place, *_bench(place), "--out", str(place / "a"), log="first")
    if not _says(first, STAGES["measuring"], log=place / "first"):
        return "owner killed", f"never measured: {_last(place, 'first')}"
    second = _start(place, *_bench(place), "--out", str(place / "b"), log="second")
    _says(second, "waiting for it to finish", log=place / "second")
    time.sleep(rng.random())
    workers = _descendants(first)
    if stopped:
        for worker in workers:
            with suppress(psutil.Error):
                worker.suspend()
    first.kill()
    overlap, end = False, time.monotonic() + LIMIT_S
    while second.poll() is None and time.monotonic() < end:
        theirs = [worker for worker in workers if _is_alive(worker)]
        overlap |= bool(theirs and _descendants(second) and any(map(_is_alive, theirs)))
        if not theirs:
            break
        time.sleep(0.002)
    faults = ["both measured"] if overlap else []
    faults += ["the other did not finish"] if second.wait(LIMIT_S) else []
    return f"owner killed{', workers stopped' if stopped else ''}", "; ".join(faults)


def claimed_twice(rng: random.Random, place: Path) -> tuple[str, str]:
    """Begin two benches at about the same time in one folder: one works, the other is told who it is."""
    out, delay_s = place / "out", rng.random()
    first = _start(place, *_bench(place), "--out", str(out), log="first")
    time.sleep(delay_s)
    second = _start(place, *_bench(place), "--out", str(out), log="second")
    codes = sorted((first.wait(LIMIT_S), second.wait(LIMIT_S)))
    text = _last(place, "first") + _last(place, "second")
    pids = (first.pid, second.pid)
    told = any(f"in use by process {pid} on " in text for pid in pids) or "already holds" in text
    faults = [f"exit codes {codes}: {text}"] if codes != [0, 3] else []
    faults += [] if told else [f"not told who: {text}"]
    return f"two benches {delay_s:.2f} s apart", "; ".join(filter(None, [*faults, _leftovers(place)]))


# --- disks -------------------------------------------------------------------------------------------------------


def full_file(rng: random.Random, place: Path) -> tuple[str, str]:
    """No file may exceed a few KiB, as on a disk that fills up while it is written."""
    blocks = rng.choice([1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128])
    shell = ("bash", "-c", f'ulimit -f {blocks}; exec "$@"', "bash")
    arguments = ("run", str(place / "recipe.toml"), "--out", str(place / "out"))
    code, text = _run(place, *arguments, before=shell)
    return f"files of {blocks} KiB at most", _after_disk(place, code, text, arguments)


def full_disk(rng: random.Random, place: Path) -> tuple[str, str]:
    """Make the run's folder a disk of a few KiB; with space again the run goes on."""
    size, disk = rng.choice([8, 16, 32, 48, 64, 96, 128, 160, 200, 256, 320, 400, 512]), place / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(disk)], check=True)
    try:
        arguments = ("run", str(place / "recipe.toml"), "--out", str(disk / "out"))
        code, text = _run(place, *arguments)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        return f"a disk of {size} KiB", _after_disk(place, code, text, arguments)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _after_disk(place: Path, code: int, text: str, arguments: tuple[str, ...]) -> str:
    if code == 0:
        return _leftovers(place)
    faults = [] if code == 3 and any(words in text for words in DISK_WORDS) else [f"exit {code}: {text}"]
    faults += [left] if (left := _leftovers(place)) else []
    resume = ("--resume",) if (Path(arguments[-1]) / "recipe.json").exists() else ()
    again, text = _run(place, *arguments, *resume)
    return "; ".join([*faults, *([f"resume: exit {again}: {text}"] if again else [])])


def read_only(rng: random.Random, place: Path) -> tuple[str, str]:
    """/tmp and the current folder cannot be written: it measures elsewhere, or says so."""
    mounts = "; ".join(f"mount -t tmpfs -o ro tmpfs {d}" for d in ("/tmp", "/var/tmp", "/dev/shm") if Path(d).is_dir())
    named = rng.random() < 0.5
    out = place / "out"
    inside = f'{mounts}; cd /tmp; exec "$@"'
    code, text = _run(
        place,
        *_bench(place),
        *(("--out", str(out)) if named else ()),
        before=("unshare", "-m", "bash", "-c", inside, "bash"),
        KDBENCH_LOCK_DIR="",
    )
    done = code == 0 and (out / "record.json").exists()
    fault = "" if done or (code == 3 and "written" in text) else f"exit {code}: {text}"
    return f"/tmp and . read-only, --out {'given' if named else 'not given'}", fault


# --- locks of several users --------------------------------------------------------------------------------------

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
    made = place / "made"
    match what:
        case "link":
            lock.symlink_to(victim)
        case "dangling link":
            lock.symlink_to(made)
        case "pipe":
            os.mkfifo(lock)
        case "folder":
            lock.mkdir()
        case "file":
            os.link(victim, lock)
    code, text = _run(place, *_bench(place), "--out", str(place / "out"))
    expected = 0 if what == "file" else 3
    faults = [f"exit {code}: {text}"] if code != expected else []
    if victim.read_text() != "precious" or victim.stat().st_mode & 0o777 != 0o600 or made.exists():
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
            [sys.executable, "-P", "-c", code], env=_environment(place), capture_output=True, text=True, check=False
        )
        if done.returncode:
            faults.append(f"user {user}: {done.stderr.strip().splitlines()[-1]}")
    return f"users {users} in turn, umask {umask:o}", "; ".join(faults)


# --- hostile surroundings ----------------------------------------------------------------------------------------


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
    code, text = _run(place, *_bench(place), *arguments, cwd=folder)
    probe = f"import os; os.environ['PYTHONPATH'] = {path + extra!r}; from kdbench.meters.codecarbon import CodeCarbon"
    subprocess.run(
        [sys.executable, "-P", "-c", f"{probe}; print(CodeCarbon().available())"],
        env=_environment(place), cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    faults = [f"ran {ran.read_text()}"] if ran.exists() else []
    return "modules in the current folder", "; ".join([*faults, *([f"exit {code}: {text}"] if code else [])])


def homeless(rng: random.Random, place: Path) -> tuple[str, str]:
    """HOME cannot be used: progress lines stay kdbench's own."""
    home = rng.choice(["/proc/nowhere", "/dev/null", str(place / "file")])
    (place / "file").write_text("")
    arguments = ("--estimate-energy", "--energy", "quick", "--out", str(place / "out"))
    code, text = _run(place, *_bench(place), *arguments, HOME=home, whole=True)
    own = re.compile(r"\[\d/\d\] |      |warning: |  |hint: |report: | |$|¹|²|³|\*|Summary")
    foreign = [line for line in text.splitlines() if not own.match(line)]
    faults = [f"foreign lines: {foreign[:2]}"] if foreign else []
    return f"HOME={home}", "; ".join([*faults, *([f"exit {code}"] if code else [])])


def unwritable_output(rng: random.Random, place: Path) -> tuple[str, str]:
    """Progress or results go to a full disk or a closed pipe: the work is done all the same."""
    target, full = rng.choice([("2>/dev/full", 0), ("2>&-", 0), (">&-", 0), (">/dev/full", 3), ("2> >(head -c1)", 0)])
    shell = ("bash", "-c", f'exec "$@" {target}', "bash")
    code, text = _run(place, *_bench(place), "--energy", "off", "--out", str(place / "out"), before=shell)
    faults = [f"exit {code}: {text}"] if code != full else []
    if not (place / "out" / "record.json").exists():
        faults.append("nothing was measured")
    return f"output {target}", "; ".join([*faults, *filter(None, [_leftovers(place)])])


def limited(rng: random.Random, place: Path) -> tuple[str, str]:
    """Memory, open files or processes are limited: it works, or says what ran out."""
    limit = rng.choice(["-v 200000", "-v 400000", "-v 800000", "-v 1500000", "-n 8", "-n 16", "-n 32", "-s 64"])
    shell = ("bash", "-c", f'ulimit {limit}; exec "$@"', "bash")
    code, text = _run(place, *_bench(place), "--energy", "off", "--out", str(place / "out"), before=shell)
    before_main = "internal error" not in text and any(name in text for name in ("MemoryError", "ImportError"))
    fault = "" if code in {0, 3} or before_main else f"exit {code}: {text}"
    return f"ulimit {limit}", "; ".join(filter(None, [fault, _leftovers(place)]))


# --- processes ---------------------------------------------------------------------------------------------------


@contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kdfaults-") as folder:
        place = Path(folder)
        (place / "recipe.toml").write_text(RECIPE)
        (place / "tmp").mkdir()
        yield place
        shutil.rmtree(place / "tmp", ignore_errors=True)


def _bench(place: Path) -> tuple[str, ...]:
    return ("bench", str(_model(place)), "--no-accuracy", "--budget", "0.1s", "--sessions", "2")


def _model(place: Path) -> Path:
    from onnx import TensorProto, helper, save

    path = place / "m.onnx"
    if not path.exists():
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1, 8, 8]) for name in "xy")
        flat = helper.make_tensor_value_info("z", TensorProto.FLOAT, [None, 64])
        nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Flatten", ["y"], ["z"])]
        del y
        graph = helper.make_graph(nodes, "m", [x], [flat])
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _environment(place: Path, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    ours = {"KDBENCH_LOCK_DIR": str(place / "locks"), "TMPDIR": str(place / "tmp"), "OMP_NUM_THREADS": "1"}
    merged = {**kept, **ours, **variables}
    return {name: value for name, value in merged.items() if value}


def _start(place: Path, *arguments: str, log: str = "log") -> subprocess.Popen[bytes]:
    with (place / log).open("wb") as stream:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=stream,
            stderr=stream,
            env=_environment(place),
            cwd=place,
            start_new_session=True,
        )


def _run(
    place: Path,
    *arguments: str,
    before: tuple[str, ...] = (),
    cwd: Path | None = None,
    whole: bool = False,
    **variables: str,
) -> tuple[int, str]:
    """Return the exit code and the last words of a command that runs to its end."""
    environment = _environment(place, **variables)
    if "KDBENCH_LOCK_DIR" in variables:
        environment.pop("TMPDIR", None)
    try:
        done = subprocess.run(
            [*before, *COMMAND, *arguments], env=environment, cwd=cwd or place, capture_output=True, text=True,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, f"not done after {LIMIT_S} s"
    lines = done.stderr.strip().splitlines()
    return done.returncode, done.stderr if whole else " | ".join(lines[-2:])


def _says(process: subprocess.Popen[bytes], pattern: str, log: Path | None = None) -> bool:
    """Wait until the process writes a line with `pattern`; return whether it did."""
    end = time.monotonic() + LIMIT_S
    file = log or _log_of(process)
    while process.poll() is None and time.monotonic() < end:
        if re.search(pattern, file.read_text(errors="replace")):
            return True
        time.sleep(0.01)
    return bool(re.search(pattern, file.read_text(errors="replace")))


def _log_of(process: subprocess.Popen[bytes]) -> Path:
    return Path(f"/proc/{process.pid}/cwd").resolve() / "log"


def _last(place: Path, log: str = "log") -> str:
    return " | ".join((place / log).read_text(errors="replace").strip().splitlines()[-2:])


def _signal(process: subprocess.Popen[bytes], name: str) -> None:
    process.send_signal(getattr(signal, name.split(maxsplit=1)[0]))
    if name.endswith("twice"):
        time.sleep(0.02)
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)


def _descendants(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _alive_after(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    end = time.monotonic() + seconds
    while (alive := [process for process in processes if _is_alive(process)]) and time.monotonic() < end:
        time.sleep(0.01)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    return alive


def _leftovers(place: Path) -> str:
    """Return what work that ended left behind."""
    names = (".measuring", ".in-use")
    found = [path for path in place.rglob("*") if path.name in names or path.name.endswith(".part")]
    found += [path for path in (place / "tmp").glob("*kdbench*") if path.suffix != ".log"]
    return f"left {', '.join(str(path.relative_to(place)) for path in found)}" if found else ""
