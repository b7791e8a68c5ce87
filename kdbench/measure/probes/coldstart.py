"""Loading and the first call in this fresh process, nothing of the model in it before. Files may be in the page cache.

Job: `models` (one), `provider`, `threads`. Result: `load_ns`, `first_run_ns`, or `errors` (id to reason).
"""

import time
from typing import Any

import numpy as np

from kdbench.measure.inputs import prepare
from kdbench.measure.jobs import JobModel
from kdbench.measure.runtime import FAULTS, Target, describe
from kdbench.measure.worker import Channel


def run(job: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Load the model and run it once."""
    (model,) = [JobModel.from_json(value) for value in job["models"]]
    channel.model(model.id)
    images = np.load(model.images, mmap_mode="r")
    inputs = prepare(images[: model.fixed_batch or 1], model)
    try:
        begin = time.perf_counter_ns()
        target = Target(model, provider=job["provider"], threads=job["threads"])
        loaded = time.perf_counter_ns()
        target(inputs)
        ran = time.perf_counter_ns()
    except FAULTS as error:
        return {"errors": {model.id: describe(error)}}
    return {"load_ns": loaded - begin, "first_run_ns": ran - loaded, "errors": {}}
