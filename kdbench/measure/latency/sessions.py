"""Sessions of latency: all models together in fresh processes, one after the other.

Sessions are added until the headline ratios are known precisely enough or the budget is spent.
"""

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.machine.fingerprint import virtualization
from kdbench.measure.bench_model import SEED, BenchModel, students
from kdbench.measure.context import ONNXRUNTIME, Context
from kdbench.measure.latency.configurations import Configuration, configurations
from kdbench.measure.staging import null_model
from kdbench.progress import SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.records import Diagnostic
from kdbench.results.samples import join_sessions, session_calls
from kdbench.statistics import PLAIN, Clustered, Estimate, Plan
from kdbench.statistics.clustered import LEAST_BLOCKS, LEAST_SESSIONS, kept_core, undisturbed
from kdbench.statistics.few_sessions import RESOLUTION, SHARED_RESOLUTION
from kdbench.worker.jobs import LatencyJob

Key = tuple[str, int]  # a model's id and a configuration's number
Samples = Mapping[Key, Clustered]  # the times of a model's calls

# The budget allows this multiple of the least number of sessions: more than half of it serves to narrow intervals.
_MOST_FOR_ONE = 2.5
_OVERHEAD_S = 0.5  # of a session, before one has shown it: starting a process, loading models
_LEAST_SHARE = 0.3  # of a session's usual time is spent timing, however long the models take to load


@dataclass(frozen=True)
class Sampled:
    """The samples of all sessions.

    `samples`, `failed` (why there are no samples), `warm_up_calls` (one a session) and `call_ns` (the median warm call,
    one a session) are by model and configuration number; `floor_ns` is one a session; `seconds` is the time of all
    sessions, process starts included. `width` is the widest headline interval at the end, as a share.
    """

    configurations: tuple[Configuration, ...]
    samples: Samples = field(default_factory=dict)
    failed: Mapping[Key, str] = field(default_factory=dict)
    floor_ns: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    warm_up_calls: Mapping[Key, list[int]] = field(default_factory=dict)
    call_ns: Mapping[Key, list[float]] = field(default_factory=dict)
    sessions: int = 0
    seconds: float = 0.0
    width: float = np.inf
    cores: tuple[int, ...] | None = None
    plan: Plan = PLAIN

    def undisturbed(self, key: Key) -> Clustered:
        """Return the samples that latencies are estimated from; all of random arrivals, whose queue has a memory."""
        samples = self.samples[key]
        return samples if self.configurations[key[1]].mode == "server" else statistics.undisturbed(samples)


def sample(context: Context, models: Sequence[BenchModel], seed: int = SEED) -> Sampled:
    """Run sessions one after the other, each a fresh process (one a runtime) with every model in it.

    At least `config.sessions` run; more follow until `headline_width` is below `config.precision` or another session
    would end after `config.budget_s`. A model that ends its process is left out from then on. A model that fails in any
    session loses its samples. Raises MeasurementError if a session fails and no single model is to blame.
    """
    config = context.config
    most = _most_sessions(config)
    sessions = _Sessions(context, models, seed)
    progress = SubProgress(context.progress, 0, 1, "")
    begin = time.monotonic()
    longest_s, number = 0.0, 0
    while True:
        session_begin = time.monotonic()
        sessions.run(number, progress.part(min(number, most - 1), most, f"session {number + 1}"))
        now = time.monotonic()
        longest_s, number = max(longest_s, now - session_begin), number + 1
        if number >= config.sessions:
            sampled = sessions.sampled(number, now - begin)
            if sampled.width <= config.precision or now - begin + longest_s > config.budget_s:
                return sampled


class _Sessions:
    """Runs sessions and collects samples.

    `_lost` maps runtimes to the models that ended a process, with the reason.
    """

    def __init__(self, context: Context, models: Sequence[BenchModel], seed: int) -> None:
        self._context, self._models, self._config = context, models, context.config
        self._seed = seed
        self._configurations = configurations(models, context.config)
        self._overhead_s: dict[str, float] = dict.fromkeys(context.config.runtime, _OVERHEAD_S)
        self._begin_s = 0.0
        self._floor = null_model(context.folder)
        self._file = context.folder / "samples.npz"
        self._lost: dict[str, dict[str, str]] = {runtime: {} for runtime in context.config.runtime}
        self._failed: dict[Key, str] = {}
        self._calls: dict[Key, list[Clustered]] = defaultdict(list)
        self._warm_up_calls: dict[Key, list[int]] = defaultdict(list)
        self._call_ns: dict[Key, list[float]] = defaultdict(list)
        self._floor_ns: list[float] = []

    def run(self, session: int, progress: SubProgress) -> None:
        """Run session number `session`, one process a runtime."""
        ids, runtimes = [model.id for model in self._models], self._config.runtime
        threads = max(self._config.threads)
        for number, runtime in enumerate(runtimes):
            lost, part = self._lost[runtime], progress.part(number, len(runtimes), progress.detail)
            job_for = partial(self._job, runtime, session)
            result = self._context.runner.run_surviving(
                ids, job_for, lost, part, turn=session, threads=threads, monitor=True
            )
            numbers = [c.number for c in self._configurations if c.runtime == runtime]
            self._failed = {(id_, n): reason for n in numbers for id_, reason in lost.items()} | self._failed
            if result is not None:
                timed_s = sum(configuration["seconds"] for configuration in result["configurations"])
                self._overhead_s[runtime] = time.monotonic() - self._begin_s - timed_s
                self._add(session, result)

    def _job(self, runtime: str, session: int, alive: Sequence[str]) -> LatencyJob | None:
        """Return the job with the models of each configuration of `runtime` that have not failed; None without any."""
        self._begin_s = time.monotonic()
        timed_s = timing_s(self._config, self._overhead_s[runtime] * len(self._config.runtime))
        usable = {m: model.id for m, model in enumerate(self._models) if model.id in alive}
        remaining = [
            replace(
                c,
                models=tuple(m for m in c.models if m in usable and (usable[m], c.number) not in self._failed),
                budget_s=c.share * timed_s,
            )
            for c in self._configurations
            if c.runtime == runtime
        ]
        if not any(c.models for c in remaining):
            return None
        return LatencyJob(
            runtime=runtime,
            models=tuple(self._context.jobs[model.id] for model in self._models),
            configurations=tuple(c for c in remaining if c.models),
            provider=self._config.provider,
            threads=max(self._config.threads),
            seed=self._seed,
            session=session,
            floor=self._floor if runtime == ONNXRUNTIME else None,
            samples=str(self._file),
        )

    def _add(self, session: int, result: Mapping[str, Any]) -> None:
        """Add the result of a session's process and the samples in its file."""
        if result["floor_ns"] is not None:
            self._floor_ns.append(result["floor_ns"])
        by_number = {configuration["number"]: configuration for configuration in result["configurations"]}
        for number, configuration in by_number.items():
            self._failed |= {(id_, number): reason for id_, reason in configuration["errors"].items()}
        for key, calls in calls_of_session(self._file, self._models, session).items():
            id_, number = key
            self._calls[key].append(calls)
            self._warm_up_calls[key].append(by_number[number]["warm_up_calls"][id_])
            self._call_ns[key].append(by_number[number]["call_ns"][id_])

    def sampled(self, sessions: int, seconds: float) -> Sampled:
        """Return everything collected, without the samples of models that failed."""
        samples = {key: join_sessions(parts) for key, parts in self._calls.items() if key not in self._failed}
        plan = session_plan(self._context.runner.cores, self._config.sessions)
        return Sampled(
            self._configurations,
            samples,
            self._failed,
            np.array(self._floor_ns),
            self._warm_up_calls,
            self._call_ns,
            sessions,
            seconds,
            headline_width(self._models, self._configurations, samples, plan),
            self._context.runner.cores,
            plan,
        )


def timing_s(config: Measure, overhead_s: float) -> float:
    """Return for how long a session times calls, when starting its processes and loading models takes `overhead_s`.

    Sessions are short, so that the budget allows more than the planned number of them. But a session that starts for
    longer than it measures shows little, so it times for as long as it starts if the planned sessions then still fit.
    """
    session_s, longest_s = config.budget_s / _most_sessions(config), config.budget_s / config.sessions
    return max(session_s - overhead_s, min(overhead_s, longest_s - overhead_s), _LEAST_SHARE * session_s)


def _most_sessions(config: Measure) -> int:
    """Return how many sessions the budget allows, at their usual length."""
    return math.ceil(_MOST_FOR_ONE * config.sessions)


def calls_of_session(file: Path, models: Sequence[BenchModel], session: int) -> dict[Key, Clustered]:
    """Return the calls that a session's process stored, by model and configuration number, and remove its file."""
    calls = {}
    with np.load(file, allow_pickle=False) as arrays:
        for name in arrays:
            number, model, array = name.split("/")
            if array == "ns":
                calls[models[int(model)].id, int(number)] = session_calls(arrays, f"{number}/{model}", session)
    file.unlink()
    return calls


def headline_width(
    models: Sequence[BenchModel], configurations: Sequence[Configuration], samples: Samples, plan: Plan
) -> float:
    """Return the widest 95 % interval among the headline ratios, as a share of each; infinite before two sessions.

    The headline is the first mode at the first thread count, every batch. Without a ratio, because there is no pair or
    a model failed, the models' median times take its place. Random arrivals have no headline and give 0: a wait depends
    on chance more than on the model.
    """
    first = configurations[0]
    headline = [c for c in configurations if (c.mode, c.threads) == (first.mode, first.threads)]
    steady = [c.number for c in headline if c.mode != "server"]
    pairs = students(models)
    estimates = [
        e for number in steady for t, s in pairs if (e := ratio(samples, t.id, s.id, number, plan)) is not None
    ]
    if not estimates:
        times = [data for (_, number), data in samples.items() if number in steady]
        estimates = [e for data in times for e in statistics.clustered_quantiles(undisturbed(data), (0.5,), plan=plan)]
    return max(map(statistics.relative_width, estimates), default=0.0)


def session_plan(cores: Sequence[int] | None, first: int | None = None) -> Plan:
    """Return the plan of sessions that take turns on `cores`; the `first` of these always run.

    A guest does not see the work of its neighbours, which slows a large model down more than a small one.
    """
    resolution = RESOLUTION if virtualization() is None else SHARED_RESOLUTION
    return Plan(first, len(cores or (None,)), resolution)


def imprecision(width: float, config: Measure, plan: Plan) -> tuple[Diagnostic, ...]:
    """Return a warning if the budget ended before every headline interval was as narrow as requested."""
    if width <= config.precision:
        return ()
    widths = f"were up to {100 * width:.1f} % wide" if np.isfinite(width) else "were unknown"
    spent = f"when the budget of {config.budget_s:g} s was spent, intervals {widths}"
    message = f"{spent}; {100 * config.precision:g} % was requested"
    remedy = f"measure on a machine of its own: here no interval is below {100 * plan.least_width:.1f} %"
    if plan.least_width <= config.precision:
        remedy = "give it a longer --budget, or measure when the machine is otherwise idle"
    return (Diagnostic(code="precision_missed", message=message, remedy=remedy),)


def ratio(samples: Samples, teacher: str, student: str, number: int, plan: Plan) -> Estimate | None:
    """Return how much longer the teacher's calls take in configuration `number`; None if either has no samples."""
    both = samples.get((teacher, number)), samples.get((student, number))
    if both[0] is None or both[1] is None:
        return None
    return statistics.paired_ratio(log_ratios(both[0], both[1]), plan=plan)


def log_ratios(teacher: Clustered, student: Clustered) -> list[NDArray[np.float64]]:
    """Return the log ratio of the block medians of every round, one array a session, as `ratios_by_session`."""
    return list(ratios_by_session(teacher, student).values())


def ratios_by_session(teacher: Clustered, student: Clustered) -> dict[int, NDArray[np.float64]]:
    """Return the log ratio of the block medians of every round by session, in order.

    Rounds in which a block lost its core are left out, by the rule of `statistics.undisturbed`.
    """
    in_order: dict[int, tuple[NDArray[np.float64], NDArray[np.bool_]]] = {}
    for session in np.unique(teacher.session).tolist():
        (t_logs, t_kept), (s_logs, s_kept) = (_log_medians(data, session) for data in (teacher, student))
        in_order[session] = t_logs - s_logs, t_kept & s_kept
    kept = {session: ratios[both] for session, (ratios, both) in in_order.items() if both.sum() >= LEAST_BLOCKS}
    enough = len(kept) >= min(LEAST_SESSIONS, len(in_order))
    return kept if enough else {session: ratios for session, (ratios, _) in in_order.items()}


def _log_medians(data: Clustered, session: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the logarithm of the median of each block of a session, and whether it kept its core."""
    chosen = data.session == session
    shape = data.block[chosen].max() + 1, -1  # blocks are in order and of equal length
    blocks = data.values[chosen].reshape(shape)
    logs = np.asarray(np.log(np.median(blocks, axis=1)))
    if data.preempted is None:
        return logs, np.full(len(logs), True)
    return logs, kept_core(data.preempted[chosen].reshape(shape)[:, 0], blocks.sum(axis=1))
