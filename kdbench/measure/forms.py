"""Files of a model in the forms that other runtimes take: next to the model's file, or converted from it.

A converter runs in a separate process and environment, and its result is kept in the user's cache folder. `admission`
checks that the converted file computes the same as the model.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from kdbench.files import storage
from kdbench.installation import package_folder
from kdbench.measure.bench_model import BenchModel, Refusal
from kdbench.processes import children, temporary
from kdbench.worker.jobs import JobModel

TFLITE = ".tflite"
PYTHON = "KDBENCH_LITERT_PYTHON"
_SCRIPT = package_folder() / "export" / "onnx_to_litert.py"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
_HINT = (
    f"put it there, or set {PYTHON} to the python of an environment with litert-torch, which converts it: "
    "docs/runtimes.md"
)


def file_in(form: str, model: BenchModel, job: JobModel) -> Path | Refusal:
    """Return the file of `model` in a `form`, such as `.tflite`, or why there is none."""
    assert form == TFLITE, form
    neighbour = model.path.with_suffix(TFLITE)
    if neighbour.is_file():
        return neighbour
    python = os.environ.get(PYTHON)
    if not python:
        return Refusal(f"{neighbour.name} is not next to it", _HINT)
    if not Path(python).is_file():
        return Refusal(f"{PYTHON} names {python}, which is not a file", "name the python of an environment")
    key = storage.content_hash([model.facts.sha256, storage.sha256(_SCRIPT), job.output, job.shape, job.layout])
    cached = storage.user_cache() / "litert" / f"{key[:32]}{TFLITE}"
    return cached if cached.is_file() else _converted(python, model, job, cached)


def _converted(python: str, model: BenchModel, job: JobModel, target: Path) -> Path | Refusal:
    shape = ",".join(map(str, (model.facts.fixed_batch or 1, *job.shape)))
    with temporary.folder() as folder:
        converted = folder / target.name
        # Relative paths would be relative to `folder`, where the converter runs.
        files = [str(path.absolute()) for path in (_SCRIPT, model.path, converted)]
        command = [str(Path(python).absolute()), "-I", *files, job.output, shape, job.layout]
        if reason := _failure(command, folder):
            return Refusal(f"it cannot be converted to {TFLITE}: {reason}", _HINT, "error")
        storage.make_folder(target.parent)
        with storage.replacing(target) as partial:
            shutil.copyfile(converted, partial)
    return target


def _failure(command: Sequence[str], folder: Path) -> str:
    """Run a converter in `folder` and return the last line of its errors; empty if it succeeds."""
    log = folder / "errors.txt"
    with log.open("wb") as errors, (folder / "output.txt").open("wb") as output:
        try:
            process = children.start(command, {**os.environ, **_OFFLINE}, errors, cwd=folder)
        except OSError as error:
            return f"{command[0]} cannot be run: {error.strerror}"
        try:
            assert process.stdout is not None
            shutil.copyfileobj(process.stdout, output)
            code = process.wait()
        finally:
            children.end(process)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return (lines[-1] if lines else f"exit code {code}") if code else ""
