"""A process that times one contestant: reads a job, keeps to its cores, prints the result as one line of JSON."""

import importlib
import json
import os
import sys
import warnings
from pathlib import Path

from kdbench.files import storage


def main() -> None:
    """Time what the job says."""
    job = storage.read_json(Path(sys.argv[1]), "job")
    os.sched_setaffinity(0, job["cores"])  # before torch counts them; loaders' processes inherit it
    warnings.filterwarnings("ignore")
    from benchmarks.training.workload import Workload

    module, _, function = job["function"].partition(":")
    measure = getattr(importlib.import_module(module), function)
    print(json.dumps(measure(Workload(**job["workload"]), Path(job["folder"]), **job["options"])))


if __name__ == "__main__":
    main()
