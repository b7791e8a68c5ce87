"""Each runtime's own benchmark tool, or a bare loop where it has none, in a fresh process on given cores."""

import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.errors import InputError, MeasurementError
from kdbench.measure.forms import TFLITE
from kdbench.worker.jobs import JobModel
from kdbench.worker.web import installed

HERE = Path(__file__).resolve().parent
_LIMIT_S = 120
_TAIL = 1500  # characters of a failed process's output
_ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


@dataclass(frozen=True)
class Task:
    """A model whose prepared inputs (N, *shape) lie in `folder`/inputs.npy, to be called for `seconds` on `cores`."""

    model: JobModel
    folder: Path
    seconds: float
    cores: Sequence[int]


@dataclass(frozen=True)
class Reading:
    """What a tool says: its median time of a call, and where it defines the time otherwise than kdbench, that time."""

    p50_ns: float
    defined_ns: float | None = None


@dataclass(frozen=True)
class Tool:
    """How to measure `runtime` without kdbench: the time of a call, and the class of each input.

    Where the tool's time is another one than kdbench's, `defined_ns` returns the tool's from kdbench's calls in ns, so
    that like is compared with like.
    """

    runtime: str
    about: str
    read: Callable[[Task], Reading]
    classes: Callable[[Task], np.ndarray]
    require: Callable[[], object]
    form: str = ""
    defined_ns: Callable[[Task, np.ndarray], float] | None = None


def benchmark_app(task: Task) -> Reading:
    """Return the median of OpenVINO's tool, which has two decimals, of µs below a millisecond."""
    shape = ",".join(map(str, (1, *task.model.shape)))
    how = ["-hint", "none", "-nstreams", "1", "-nthreads", "1", "-infer_precision", "f32", "-api", "sync"]
    app = str(Path(sys.executable).with_name("benchmark_app"))
    shown = _output([app, "-m", task.model.path, *how, "-shape", f"[{shape}]", "-t", f"{task.seconds:.0f}"], task)
    match = re.search(r"Median:\s+([\d.]+) (ms|us)", shown)
    if match is None:
        raise MeasurementError(f"benchmark_app shows no median: {shown[-_TAIL:]}")
    request_ns = float(match[1]) * {"ms": 1e6, "us": 1e3}[match[2]]
    return Reading(request_ns, request_ns)


def openvino_loop(task: Task) -> Reading:
    """Return the median of a bare loop, and that of its requests' own times."""
    shown = _loop("bare_openvino.py", task)
    return Reading(shown["p50_ns"], shown["request_ns"])


def of_request(task: Task, calls_ns: np.ndarray) -> float:
    """Return kdbench's median without the call from Python, which a loop of kdbench's own calls measures."""
    job = task.folder / "model.json"
    job.write_text(json.dumps(asdict(task.model)))
    command = [sys.executable, "-m", "benchmarks.runtimes.own_openvino", str(job), str(task.folder / "inputs.npy")]
    cost_ns = json.loads(_output([*command, str(task.seconds)], task))["call_ns"]
    return float(np.median(calls_ns)) - cost_ns


def litert_benchmark(task: Task) -> Reading:
    """Return the median of LiteRT's tool, before it rounds to 10 µs; it calls the file with inputs of its own."""
    result = task.folder / "litert.json"
    runs = str(max(int(task.seconds * 1e9 / _loop("bare_litert.py", task)["p50_ns"]), 100))
    tool = [sys.executable, str(HERE / "fine_litert.py"), "--model", task.model.files[TFLITE]]
    counts = ["--num_runs", runs, "--warmup_runs", "100", "--num_threads", "1"]
    _output([*tool, *counts, "--result_json", str(result)], task)
    return Reading(float(json.loads(result.read_text())["latency"]["median_ms"]) * 1e6)


def _loop(script: str, task: Task) -> dict[str, Any]:
    """Return what a bare loop in Python prints."""
    path = task.model.files.get(TFLITE, task.model.path)
    return json.loads(
        _output([sys.executable, str(HERE / script), path, str(task.folder / "inputs.npy"), str(task.seconds)], task)
    )


def _of_loop(script: str) -> Callable[[Task], Reading]:
    return lambda task: Reading(_loop(script, task)["p50_ns"])


def _classes_of_loop(script: str) -> Callable[[Task], np.ndarray]:
    return lambda task: np.array(_loop(script, Task(task.model, task.folder, 0.0, task.cores))["classes"])


def in_node(task: Task) -> dict[str, Any]:
    """Return what the bare loop in Node.js prints."""
    _web_files(task)
    ort = installed.package() / "dist" / "ort.node.min.mjs"
    command = [installed.program_path("node"), str(HERE / "bare_node.mjs"), str(task.folder), str(ort)]
    return json.loads(_output(command, task).splitlines()[-1])


def in_page(task: Task) -> dict[str, Any]:
    """Return what the bare loop in an isolated page of headless Chromium sends."""
    _web_files(task)
    for name in ("bare.mjs", "bare.html"):
        shutil.copyfile(HERE / name, task.folder / name)
    if not (task.folder / "dist").exists():
        (task.folder / "dist").symlink_to(installed.package() / "dist")
    answers: list[bytes] = []
    arrived = threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

        def end_headers(self) -> None:
            for name, value in _ISOLATION.items():
                self.send_header(name, value)
            super().end_headers()

        def do_POST(self) -> None:
            answers.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(task.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    flags = ["--headless=new", "--no-first-run", "--disable-gpu", "--disable-extensions", "--disable-dev-shm-usage"]
    profile = f"--user-data-dir={task.folder / 'profile'}"
    url = f"http://127.0.0.1:{server.server_port}/bare.html"
    command = [*_on(task.cores), installed.program_path("chromium"), *flags, *root, profile, url]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not arrived.wait(_LIMIT_S):
            raise MeasurementError("the page sent nothing")
    finally:
        browser.terminate()
        browser.wait()
        server.shutdown()
    answer: dict[str, Any] = json.loads(answers[0])
    if "error" in answer:
        raise MeasurementError(f"the page failed: {answer['error']}")
    return answer


def _web_files(task: Task) -> None:
    inputs = np.load(task.folder / "inputs.npy")
    shutil.copyfile(task.model.path, task.folder / "model.onnx")
    inputs.tofile(task.folder / "inputs.bin")
    about = {"dims": [1, *inputs.shape[1:]], "input": task.model.input, "output": task.model.output}
    (task.folder / "job.json").write_text(json.dumps({**about, "seconds": task.seconds, "samples": len(inputs)}))


def _output(command: Sequence[str], task: Task) -> str:
    """Return what a process on the task's cores prints; raises MeasurementError if it fails."""
    pinned = [*_on(task.cores), *command]
    done = subprocess.run(pinned, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    if done.returncode:
        raise MeasurementError(f"{Path(command[0]).name} failed: {(done.stdout + done.stderr)[-_TAIL:]}")
    return done.stdout


def _on(cores: Sequence[int]) -> tuple[str, ...]:
    return "taskset", "--cpu-list", ",".join(map(str, cores))


def _needs(module: str) -> Callable[[], None]:
    def require() -> None:
        if importlib.util.find_spec(module) is None:
            raise InputError(f"{module} is not installed", "")

    return require


def _of_web(run: Callable[[Task], dict[str, Any]]) -> tuple[Callable[[Task], Reading], Callable[[Task], np.ndarray]]:
    def classes(task: Task) -> np.ndarray:
        return np.array(run(Task(task.model, task.folder, 0.0, task.cores))["classes"])

    return lambda task: Reading(run(task)["p50_ns"]), classes


TOOLS = {
    "benchmark_app": Tool(
        "openvino",
        "`benchmark_app` of OpenVINO reports the request's own time; like for like is kdbench's time without the call "
        "from Python; answers are those of a loop with the Python API",
        benchmark_app,
        _classes_of_loop("bare_openvino.py"),
        _needs("openvino"),
        defined_ns=of_request,
    ),
    "openvino-loop": Tool(
        "openvino",
        "a bare loop with OpenVINO's Python API, which converts arguments in Python; like for like are the requests' "
        "own times",
        openvino_loop,
        _classes_of_loop("bare_openvino.py"),
        _needs("openvino"),
        defined_ns=of_request,
    ),
    "litert-benchmark": Tool(
        "litert",
        "`litert-benchmark` of LiteRT times its CompiledModel in place of Interpreter; its median is read before it "
        "rounds to 10 µs",
        litert_benchmark,
        _classes_of_loop("bare_litert.py"),
        _needs("ai_edge_litert"),
        TFLITE,
    ),
    "litert-loop": Tool(
        "litert",
        "a bare loop with LiteRT's Interpreter and XNNPACK",
        _of_loop("bare_litert.py"),
        _classes_of_loop("bare_litert.py"),
        _needs("ai_edge_litert"),
        TFLITE,
    ),
    "page-loop": Tool(
        "onnxruntime-web",
        "a bare loop in an isolated page of headless Chromium",
        *_of_web(in_page),
        lambda: installed.require("chromium"),
    ),
    "node-loop": Tool(
        "onnxruntime-web-node", "a bare loop in Node.js", *_of_web(in_node), lambda: installed.require("node")
    ),
}
