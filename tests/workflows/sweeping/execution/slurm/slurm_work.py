"""What jobs do in tests: they say where they are, wait for a file, and keep a count as a training keeps checkpoints."""

import os
import time
from pathlib import Path

from kdbench.errors import InputError
from kdbench.files import storage


def perform(message, progress):
    """Do as the message says."""
    folder, name = Path(message["folder"]), message["name"]
    tries = folder / f"{name}.tries"
    with tries.open("a") as stream:
        stream.write("x")
    progress.note("begun")
    facts = {"environment": dict(os.environ), "tries": tries.read_text()}
    storage.write_json(folder / f"{name}.json", facts)  # at once: the test reads it meanwhile
    if message.get("fails"):
        raise InputError("wrong", "right")
    while message.get("until") and not Path(message["until"]).exists():
        time.sleep(0.02)
    if message.get("dies"):
        raise SystemExit("the reason")
