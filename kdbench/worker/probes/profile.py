"""Where the time of a call goes, node by node: onnxruntime's own profile of one model, in this fresh process.

Result: `nodes`, in the order in which they run (each `name`, `operator`, `time_ns`), `calls`, the number of calls
that were timed, `call_ns`, the time of a call that is not profiled, and `errors` (id to reason). Profiling slows every
node down by a microsecond or two: its times are for comparing nodes, not for saying how long a call takes.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from kdbench.worker.channel import Channel
from kdbench.worker.faults import describe
from kdbench.worker.inputs import batch_inputs
from kdbench.worker.jobs import PROVIDERS, JobModel, ProfileJob
from kdbench.worker.loads import Calls
from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel, feed, session_options
from kdbench.worker.timing import warm_up

_MIN_CALLS, _MAX_CALLS = 8, 100  # each node of each call is an event of half a kilobyte
_WARM_UP_NS, _TIMED_NS = 500_000_000, 2_000_000_000
_WARM_UPS = 3  # of the profiled session itself: its first calls allocate
_END_OF_KERNEL = "_kernel_time"

Event = dict[str, Any]


def run(job: ProfileJob, channel: Channel) -> dict[str, Any]:
    """Profile the model of the job."""
    model = job.model
    channel.model(model.id)
    inputs = batch_inputs(model, job.batch)
    try:
        # A session that is not profiled warms the machine up.
        execute, (arguments,) = LoadedModel(model, provider=job.provider, threads=job.threads).bind([inputs])
        call_ns = warm_up(Calls(execute, [arguments]), _WARM_UP_NS).call_ns
        trace = _profiled(model, job, inputs, channel)
    except FAULTS as error:
        return {"errors": {model.id: describe(error)}}
    events = json.loads(trace.read_text(encoding="utf-8"))
    trace.unlink()
    return {**summarise(events, _WARM_UPS), "call_ns": call_ns, "errors": {}}


def _profiled(model: JobModel, job: ProfileJob, inputs: NDArray[np.generic], channel: Channel) -> Path:
    """Call the model under the profiler, first _WARM_UPS times, then long enough; return the file of events."""
    options = session_options(job.threads, spinning=True, fallback=job.provider == "cpu")
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(job.optimised).with_suffix(""))
    options.optimized_model_filepath = job.optimised
    session = onnxruntime.InferenceSession(model.path, options, providers=[PROVIDERS[job.provider]])
    arguments = ([model.output], feed(session.get_inputs(), model.input, inputs))
    for _ in range(_WARM_UPS):
        session.run(*arguments)
    begin = time.perf_counter_ns()
    calls, spent = 0, 0
    while calls < _MIN_CALLS or (calls < _MAX_CALLS and spent < _TIMED_NS):
        session.run(*arguments)
        calls, spent = calls + 1, time.perf_counter_ns() - begin
        channel.step(calls, _MAX_CALLS)
    return Path(session.end_profiling())


def summarise(events: Sequence[Event], warm_ups: int) -> dict[str, Any]:
    """Return the `nodes` and the number of `calls` of a profile, without its first `warm_ups` calls.

    The clock of the profile ticks in µs, so a node's time is a mean over calls, not a median; its slowest and fastest
    quarters of calls are left out, because an interruption falls into some node. A node that contains a graph is timed
    with everything in it, whose events are skipped. Nodes of one name are one.
    """
    # An event that begins and ends in the tick in which the node that contains it ends looks like the next node, but
    # not in every call.
    nodes = sorted((e for e in events if str(e["name"]).endswith(_END_OF_KERNEL)), key=lambda e: (e["ts"], -e["dur"]))
    calls = sorted((e for e in events if e["name"] == "model_run"), key=lambda e: e["ts"])[warm_ups:]
    starts = [event["ts"] for event in nodes]
    times = [
        _times_us(nodes[bisect_left(starts, call["ts"]) : bisect_right(starts, call["ts"] + call["dur"])])
        for call in calls
    ]
    common = [node for node in (times[-1] if times else ()) if all(node in call_times for call_times in times)]
    summaries = [
        {"name": node[0], "operator": node[1], "time_ns": 1000 * _middle([call_times[node] for call_times in times])}
        for node in common
    ]
    return {"nodes": summaries, "calls": len(times)}


def _middle(values: Sequence[int]) -> float:
    """Return the mean of the middle half of `values`."""
    quarter = len(values) // 4
    return float(np.mean(sorted(values)[quarter : len(values) - quarter]))


def _times_us(nodes: Sequence[Event]) -> dict[tuple[str, str], int]:
    """Return the time of each node of one call, by name and operator; `nodes` are in the order of their beginnings."""
    times: dict[tuple[str, str], int] = defaultdict(int)
    end_us = 0
    for event in nodes:
        if event["ts"] >= end_us:  # else a node of a graph that the last one contains
            times[event["name"].removesuffix(_END_OF_KERNEL), event["args"]["op_name"]] += event["dur"]
            end_us = event["ts"] + event["dur"]
    return times
