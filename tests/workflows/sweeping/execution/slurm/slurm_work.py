"""What jobs do in tests: they say where they are, wait for a file, and keep a count as a training keeps checkpoints."""

import json
import os
import time
from pathlib import Path

from kdbench.errors import InputError


def perform(message, progress):
    """Do as the message says."""
    folder, name = Path(message["folder"]), message["name"]
    tries = folder / f"{name}.tries"
    with tries.open("a") as stream:
        stream.write("x")
    progress.note("begun")
    (folder / f"{name}.json").write_text(json.dumps({"environment": dict(os.environ), "tries": tries.read_text()}))
    if message.get("fails"):
        raise InputError("wrong", "right")
    while message.get("until") and not Path(message["until"]).exists():
        time.sleep(0.02)
    if message.get("dies"):
        raise SystemExit("the reason")
