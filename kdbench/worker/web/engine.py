"""A page in headless Chromium, or Node.js, with onnxruntime-web: starting it, sending requests, and ending it."""

from __future__ import annotations

import atexit
import contextlib
import glob
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdbench.machine.cores import available_cores
from kdbench.processes import temporary
from kdbench.worker.runtimes import ProviderError
from kdbench.worker.web import installed
from kdbench.worker.web.server import Server

_FOLDER = Path(__file__).parent
_POLL_S = 1.0
_START_S = 60
_MAX_FOLDER = 40
_BINARY = "ort-wasm-simd-threaded.wasm"
_STEP_SHARE = 0.01  # the largest step of the clock, as a share of the measured time
# A debugging pipe without a writer: the browser ends when this process ends, however that happens.
_WITH_PIPE = ("/bin/sh", "-c", 'exec "$0" "$@" 3<&0 4>&1')
_CHROMIUM = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--mute-audio",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # it reaches no other machine
)


def _environment() -> dict[str, str]:
    """Return the environment of the program, with a short folder for temporary files."""
    # Chromium creates a socket in it, and exits without a message if the socket's path has over 107 characters.
    return dict(os.environ) if len(tempfile.gettempdir()) <= _MAX_FOLDER else {**os.environ, "TMPDIR": "/tmp"}  # noqa: S108


class EngineError(RuntimeError):
    """Raised if the page or Node.js fails, as a whole or in one request."""


class Engine:
    """`program` ("chromium" or "node") with onnxruntime-web and `threads` threads.

    `facts` describes the runtime; `settled` are the paths of models whose code is fully compiled. An engine that is not
    `isolated` is a page without the headers, with a coarse clock.

    Raises InputError if something is not installed, EngineError if it does not start, and ProviderError if it would run
    with other settings.
    """

    def __init__(self, program: str, threads: int, *, isolated: bool = True) -> None:
        package, command = installed.package(), installed.program_path(program)
        self._stack = contextlib.ExitStack()
        self._program, self._threads, self._loaded = program, threads, 0
        self.settled: set[str] = set()
        self._server = Server(_FOLDER, {"dist": package / "dist"}, isolated=isolated)
        self._stack.callback(self._server.close)
        folder = self._stack.enter_context(temporary.folder())
        self._errors = self._stack.enter_context((folder / "errors.txt").open("w+b"))
        self._process = subprocess.Popen(
            self._command(command, package, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(),
        )
        self._stack.callback(self._end)
        try:
            answer, _ = self.ask({"do": "init", "threads": threads}, limit_s=_START_S)
        except BaseException:
            self.close()
            raise
        binary = (package / "dist" / _BINARY).read_bytes()
        self.facts: dict[str, Any] = {
            "version": installed.version(package),
            **{name: value for name, value in answer.items() if value is not None},
            "threads": threads,
            "binary": {"name": _BINARY, "sha256": hashlib.sha256(binary).hexdigest()},
        }
        self.clock_step_ns = float(answer["clock_step_ns"])
        if not answer["simd"]:
            raise ProviderError(f"{answer['engine']} has no SIMD in WebAssembly", "install a newer one")
        if isolated and not answer["isolated"]:
            raise ProviderError("the page is not isolated, so it has only one thread and a coarse clock", "")

    def ask(
        self, request: Mapping[str, Any], content: bytes = b"", limit_s: float | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and return its response, with the bytes of its tensors; raises EngineError."""
        self._server.send(request, content)
        waited = 0.0
        while (reply := self._server.reply(_POLL_S)) is None:
            waited += _POLL_S
            if self._process.poll() is not None:
                raise EngineError(f"{self._program} ended: {self._last_error()}")
            if limit_s is not None and waited >= limit_s:
                raise EngineError(f"{self._program} did not answer for {waited:.0f} s: {self._last_error()}")
        if isinstance(reply, str):
            raise EngineError(reply)
        answer, body = reply
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer, body

    def load(self, path: Path, output: str) -> tuple[int, list[dict[str, Any]], int]:
        """Load a model, with the files of its data beside it; return its number, the declared inputs, and the ns.

        The time includes compiling the library for the first model, and not the start of the program.

        Raises ProviderError if the library started another number of threads than requested.
        """
        beside = path.parent.glob(f"{glob.escape(path.name)}[._]*")
        files = [path, *sorted(file for file in beside if file.is_file())]
        contents = [file.read_bytes() for file in files]
        described = [{"path": file.name, "size": len(content)} for file, content in zip(files, contents)]
        number, self._loaded = self._loaded, self._loaded + 1
        request = {"do": "load", "model": number, "output": output, "files": described}
        answer, _ = self.ask(request, b"".join(contents))
        expected = self._threads - 1 if number == 0 else 0
        if answer["threads"] != self._threads or answer["started"] not in {expected, None}:
            message = f"onnxruntime-web started {answer['started']} threads beside its own, not {expected}"
            raise ProviderError(message, "measure with --threads=1")
        if self._program == "chromium" and _BINARY not in self._server.fetched:
            raise ProviderError(f"onnxruntime-web loaded {', '.join(self._server.fetched)}, not {_BINARY}", "")
        return number, answer["inputs"], round(answer["load_ms"] * 1e6)

    def calls_per_step(self, call_ns: float) -> int:
        """Return how many calls to time together, so that a step of the clock is at most 1 % of their time."""
        return max(int(-(-self.clock_step_ns // max(call_ns * _STEP_SHARE, 1))), 1)

    def preemptions(self) -> int:
        """Return how often the system preempted the thread that runs models there; 0 if unknown."""
        status = Path(f"/proc/{self._running()}/status")
        with contextlib.suppress(OSError, StopIteration):
            lines = status.read_text(encoding="utf-8").splitlines()
            return int(next(line for line in lines if line.startswith("nonvoluntary_ctxt_switches")).split()[1])
        return 0

    def helpers_s(self) -> float:
        """Return the CPU seconds of all threads except the one that runs models; 0 if several threads run models."""
        seconds, main = 0.0, self._running()
        if self._threads > 1:
            return seconds
        for file in Path(f"/proc/{main}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                fields = file.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                seconds += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") * (file.parent.name != str(main))
        return seconds

    def close(self) -> None:
        """End the process and remove its files."""
        self._stack.close()

    def _command(self, program: str, package: Path, folder: Path) -> list[str]:
        if self._program == "node":
            return [program, str(_FOLDER / "node.mjs"), self._server.url, str(package / "dist" / "ort.node.min.mjs")]
        root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to start as root otherwise
        profile = f"--user-data-dir={folder / 'profile'}"
        return [*_WITH_PIPE, program, *_CHROMIUM, *root, profile, f"{self._server.url}/page.html"]

    def _end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def _running(self) -> int:
        """Return the process that runs models: Node.js itself, or the page's own process."""
        if self._program == "node":
            return self._process.pid
        if not hasattr(self, "_renderer"):
            self._renderer = next(filter(_renders, _descendants(self._process.pid)), self._process.pid)
        return self._renderer


_ENGINES: dict[tuple[object, ...], Engine] = {}


def engine(program: str, threads: int) -> Engine:
    """Return this process's engine with `threads` on its current cores; an engine with other settings is ended."""
    key = (program, threads, available_cores())
    if key not in _ENGINES:
        close_all()
        _ENGINES[key] = Engine(program, threads)
    return _ENGINES[key]


def running() -> Engine | None:
    """Return the engine that is running, None if there is none."""
    return next(iter(_ENGINES.values()), None)


@atexit.register
def close_all() -> None:
    """End every engine of this process."""
    while _ENGINES:
        _ENGINES.popitem()[1].close()


def _descendants(pid: int) -> list[int]:
    descendants = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children = [int(child) for child in task.read_text(encoding="utf-8").split()]
            descendants += [one for child in children for one in (child, *_descendants(child))]
    return descendants


def _renders(pid: int) -> bool:
    try:
        return b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
