"""kdbench commands in processes of their own, in a folder of their own, and what they leave behind."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.faults.patience import Patience, outputs
from benchmarks.faults.trial import COMMAND

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


@contextmanager
def new_place() -> Iterator[Path]:
    """Yield a new folder with a recipe and a folder for temporary files."""
    with tempfile.TemporaryDirectory(prefix="kdfaults-") as folder:
        place = Path(folder)
        (place / "recipe.toml").write_text(RECIPE)
        (place / "tmp").mkdir()
        yield place
        shutil.rmtree(place / "tmp", ignore_errors=True)


def bench(place: Path) -> tuple[str, ...]:
    """Return the arguments of a bench of a small model, which is written on the first call."""
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


def environment_of(place: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a command: its own locks and temporary files; empty variables are left out."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    ours = {"KDBENCH_LOCK_DIR": str(place / "locks"), "TMPDIR": str(place / "tmp"), "OMP_NUM_THREADS": "1"}
    merged = {**kept, **ours, **variables}
    return {name: value for name, value in merged.items() if value}


def start(
    place: Path,
    *arguments: str,
    log: str = "log",
    command: tuple[str, ...] = COMMAND,
    paths: Sequence[Path] = (),
    **variables: str,
) -> subprocess.Popen[bytes]:
    """Start kdbench, its output in the file `log`; Python looks for modules in `paths` first."""
    if paths:
        variables["PYTHONPATH"] = os.pathsep.join([*map(str, paths), os.environ.get("PYTHONPATH", "")])
    with (place / log).open("wb") as stream:
        return subprocess.Popen(
            [*command, *arguments],
            stdout=stream,
            stderr=stream,
            env=environment_of(place, **variables),
            cwd=place,
            start_new_session=True,
        )


def run(
    place: Path,
    *arguments: str,
    before: tuple[str, ...] = (),
    cwd: Path | None = None,
    whole: bool = False,
    limit_s: float = LIMIT_S,
    **variables: str,
) -> tuple[int, str]:
    """Return the exit code and the last words of a command that runs to its end."""
    environment = environment_of(place, **variables)
    if "KDBENCH_LOCK_DIR" in variables:
        environment.pop("TMPDIR", None)
    process = subprocess.Popen(
        [*before, *COMMAND, *arguments],
        env=environment,
        cwd=cwd or place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    _, errors, ended = outputs(process, limit_s)
    if not ended:
        return 124, f"not done after {limit_s} s"
    text = errors.decode(errors="replace")
    return process.returncode, text if whole else " | ".join(text.strip().splitlines()[-2:])


def says(process: subprocess.Popen[bytes], pattern: str, log: Path | None = None) -> bool:
    """Wait until the process writes a line with `pattern`; return whether it did."""
    patience = Patience(LIMIT_S)
    file = log or _log_of(process)
    while process.poll() is None and patience.lasts():
        if re.search(pattern, file.read_text(errors="replace")):
            return True
        time.sleep(0.01)
    return bool(re.search(pattern, file.read_text(errors="replace")))


def _log_of(process: subprocess.Popen[bytes]) -> Path:
    return Path(f"/proc/{process.pid}/cwd").resolve() / "log"


def last_words(place: Path, log: str = "log") -> str:
    """Return the last two lines of a command's output."""
    return " | ".join((place / log).read_text(errors="replace").strip().splitlines()[-2:])


def send(process: subprocess.Popen[bytes], name: str) -> None:
    """Send a signal; "twice" sends SIGINT again a moment later."""
    process.send_signal(getattr(signal, name.split(maxsplit=1)[0]))
    if name.endswith("twice"):
        time.sleep(0.02)
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)


def descendants(pid: int) -> list[psutil.Process]:
    """Return the processes that a process started, and theirs."""
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process still runs."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def alive_after(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return those of the processes that still run after that time, and end them."""
    patience = Patience(seconds)
    while (alive := [process for process in processes if is_alive(process)]) and patience.lasts():
        time.sleep(0.01)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    return alive


def leftovers(place: Path) -> str:
    """Return what work that ended left behind."""
    names = (".measuring", ".in-use")
    remaining = [path for path in place.rglob("*") if path.name in names or path.name.endswith(".part")]
    remaining += [path for path in (place / "tmp").glob("*kdbench*") if path.suffix != ".log"]
    return f"left {', '.join(str(path.relative_to(place)) for path in remaining)}" if remaining else ""
