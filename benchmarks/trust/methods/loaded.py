"""What the rivals' processes share: a job read, the cores kept to, and a model loaded just as kdbench loads it.

numpy and onnxruntime only, as in kdbench's own measuring process.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.machine.cores import pin
from kdbench.worker.decoding import decode
from kdbench.worker.inputs import prepare
from kdbench.worker.jobs import JobModel
from kdbench.worker.loads import Calls
from kdbench.worker.runtimes import runtime

_DIFFERENT_INPUTS = 8  # as many as kdbench's latency probe takes in turn


def opened(path: Path) -> dict[str, Any]:
    """Read the job in the file `path` and keep this process, and its threads to come, to the job's cores."""
    job: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    pin(job["cores"])
    return job


def loaded(value: dict[str, Any]) -> Calls:
    """Load a model of the job with kdbench's session options, one thread, and the inputs that kdbench gives it."""
    model = decode(JobModel, value)
    images = np.load(model.images)[:_DIFFERENT_INPUTS]
    inputs = [np.ascontiguousarray(image[None]) for image in prepare(images, model)]
    return Calls(*runtime("onnxruntime").load(model, provider="cpu", threads=1).bind(inputs))
