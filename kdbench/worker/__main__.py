"""The measuring process: `python -m kdbench.worker.__main__ JOB.json RESULT.json`.

It imports numpy and one runtime, so that nothing else shares its caches, threads and memory. The job names a
probe, a module of `kdbench.worker.probes`, whose `run(job, channel)` returns JSON values; these are written to
RESULT.json. Progress goes to standard output, one JSON object a line.
"""

from __future__ import annotations

import errno
import importlib
import json
import sys
from pathlib import Path

from kdbench.machine.cores import pin
from kdbench.processes.parent import end_with_parent
from kdbench.worker.channel import Channel
from kdbench.worker.jobs import job_of

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def main(path: Path, result: Path) -> None:
    """Do the job described in the file `path`."""
    end_with_parent()
    channel = Channel()
    try:
        _do(path, result, channel)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        channel.disk(error)
        sys.exit(1)


def _do(path: Path, result: Path, channel: Channel) -> None:
    job = job_of(json.loads(path.read_text(encoding="utf-8")))
    pin(job.allowed_cores)  # before any library starts a thread
    probe = importlib.import_module(f"kdbench.worker.probes.{job.probe}")
    partial = result.with_suffix(".part")
    partial.write_text(json.dumps(probe.run(job, channel)), encoding="utf-8")
    partial.replace(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
