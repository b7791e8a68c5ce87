"""What the cluster's nodes do in tests: the tasks of a sweep, with quick exports, each noted with its time and node.

Measurements only score, as times are never the same twice; the schedule still treats them as measurements.
"""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import load_file
from short_runs import shorten

from kdbench.distill.training import fit
from kdbench.workflows.stages import export
from kdbench.workflows.sweeping import tasks

PERFORM = "cluster_work:perform"
_write_file = export.write_file


def perform(message, progress):
    """Do a task as `tasks.perform` does; a file `kill-NAME` kills the process that begins that task, once."""
    folder = Path(message["folder"])
    name, log = message.get("job") or message["part"], folder.parent / "log"
    fatal = folder.parent / f"kill-{name}"
    if fatal.exists():
        fatal.unlink()
        note(log, {"killed": name})
        os.kill(os.getpid(), signal.SIGKILL)
    begin = time.time()
    note(log, {"begun": name, "pid": os.getpid(), "node": node()})
    note_overlaps(log, name)
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        patch.setattr(fit, "fit", noted(fit.fit, log, {"trained": name}))
        patch.setattr(tasks, "measure_all", noted(tasks.measure_all, log, {"measured": name}))
        tasks.perform({**message, "timed": [], "reference": None}, progress)
    done = {"task": name, "kind": message["task"], "begin": begin, "end": time.time()}
    note(log, {**done, "node": node(), "pid": os.getpid()})


def quicken(patch):
    """Export quickly, and measure in this process."""
    shorten(patch)
    patch.setattr(tasks, "write_file", write_file)


def noted(function, log, facts):
    """Return a function that notes its end."""

    def call(*args, **options):
        result = function(*args, **options)
        note(log, facts)
        return result

    return call


def note_overlaps(log, name):
    """Note the tasks that still run on this task's node, those of an earlier driver included; their end is not known.

    A task notes its own begin first: of two that overlap, the later one sees the other.
    """
    noted = [json.loads(line) for line in log.read_text().splitlines()]
    ended = Counter((line["task"], line["pid"]) for line in noted if "task" in line)
    for line in noted:
        if "begun" in line and line["node"] == node() and line["pid"] != os.getpid() and is_alive(line["pid"]):
            ended[line["begun"], line["pid"]] -= 1
            if ended[line["begun"], line["pid"]] < 0:
                note(log, {"overlap": [line["begun"], name]})


def is_alive(pid):
    """Return whether a process of this machine runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def node():
    """Return the id of the node that this process is on."""
    import ray

    return ray.get_runtime_context().get_node_id()


def note(file, facts):
    """Append a line to a file that all nodes write to."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (json.dumps(facts) + "\n").encode())
    os.close(descriptor)


def write_file(job, form, run_data, folder):
    """Write a job's model file: the exported graph of the first job with such a network, with this one's weights."""
    template = folder.path.parent / f"{job.entry.model.name}.onnx"
    if not template.exists():
        _write_file(job, form, run_data, folder)
        part = template.with_name(f".{template.name}.{os.getpid()}")
        part.write_bytes(folder.model(job.id).read_bytes())
        part.replace(template)
    model = onnx.load(template)
    weights = load_file(folder.checkpoint(job.id) / "weights.safetensors")
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights.pop(tensor.name), tensor.name))
    assert not weights, f"not in the exported graph: {[*weights]}"
    onnx.save(model, folder.model(job.id))
    return export.WrittenModel(export.Parity(max_abs=0.0, tolerance=1.0, samples=1), 10)
