"""The estimated cost of a sweep: seconds of each training, from a few steps of its network, and of each measurement."""

import statistics
import time
from collections.abc import Mapping

import torch

from kdbench.data.augment import slot_count
from kdbench.distill.methods import METHODS
from kdbench.distill.training.allocator import freed_memory_kept
from kdbench.distill.training.devices import autocast, compute_threads, device_of, processes_of, resolved
from kdbench.files import storage
from kdbench.recipe import Measure, Student, Training
from kdbench.workflows.study import networks
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.study.teacher_forms import is_onnx_teacher
from kdbench.workflows.sweeping.plan import Part

_MAX_PROBES = 24  # networks whose steps are timed; for others the median is assumed
_PROBE_S, _PROBE_STEPS = 0.15, 3
_TRAINING_S = 1.0  # of a training besides its steps: building, writing, exporting
_TEACHING_SHARE = 1 / 3  # of a step: forward without backward
_STARTS_S, _MEMORY_S = 4.2, 3.0  # of each timed model: its processes
_PART_S, _SCORE_S = 3.0, 0.3
_WINDOW_S, _WINDOWS = 0.7, 11  # of energy, a model


def training_costs(jobs: Mapping[str, Job], run_data: RunData) -> dict[str, float]:
    """Return the estimated seconds of training for each of `jobs`, by id, on this machine."""
    steps: dict[str, float] = {}
    return {id_: _training_s(job, run_data, steps) for id_, job in jobs.items()}


def _training_s(job: Job, run_data: RunData, steps: dict[str, float]) -> float:
    if job.logits is not None or job.entry.is_ready:
        return _TRAINING_S
    training = job.training
    samples, epochs = len(run_data.part_of(job.entry.data).split), training.last_epoch
    views = _sample_s(job, run_data, steps) * (samples + _TEACHING_SHARE * len(run_data.validation)) * epochs
    for teacher in job.teachers if job.learns else ():
        if teacher.logits is None and not is_onnx_teacher(teacher):
            passes = 0 if keeps_logits(job) else epochs  # filled once for all students
            views += _TEACHING_SHARE * _sample_s(teacher, run_data, steps) * samples * passes
    return _TRAINING_S + views / processes_of(training)


def keeps_logits(job: Job) -> bool:
    """Return whether a job's teachers are probably evaluated only once, and their logits cached."""
    entry = job.entry
    if not (isinstance(entry, Student) and job.learns) or entry.cache == "off":
        return False
    augment, slots = entry.data.augment, slot_count(entry.data.augment)
    has_slots = not augment.mixes_every_step and augment.transform is None and slots is not None
    needs_logits = all(getattr(METHODS.get(term.method), "needs_logits", True) for term in entry.terms)
    return has_slots and needs_logits and (slots or 0) <= job.training.last_epoch


def _sample_s(job: Job, run_data: RunData, steps: dict[str, float]) -> float:
    """Return the seconds of one training step of a job's network, per sample; `steps` caches the times."""
    training = job.training
    model = job.entry.model_dump(mode="json", include={"model", "quantize", "sub_students", "weights"})
    key = storage.content_hash([model, job.part is not None, bool(job.parts), training.batch, training.threads])
    if key not in steps:
        if len(steps) >= _MAX_PROBES:
            return statistics.median(steps.values())
        steps[key] = _timed_step(job, run_data, training)
    return steps[key]


def _timed_step(job: Job, run_data: RunData, training: Training) -> float:
    split = run_data.part_of(job.entry.data).split
    inputs = run_data.example(split, training.batch)
    with compute_threads(training.threads), freed_memory_kept():
        device = device_of(training)
        network, inputs = networks.fresh(job, run_data.dataset).to(device).train(), inputs.to(device)
        training = resolved(training, network, inputs[:1])
        if training.channels_last:
            network.to(memory_format=torch.channels_last)
        times: list[float] = []
        while len(times) < _PROBE_STEPS or sum(times) < _PROBE_S:
            began = time.perf_counter()
            with autocast(device, training.precision):
                loss = network(inputs).float().square().mean()
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - began)
            if sum(times) > 10 * _PROBE_S:
                break
    return min(times) / len(inputs)


def part_cost(part: Part, measure: Measure, *, metered: bool) -> float:
    """Return the estimated seconds of measuring a part, with its energy if `metered`."""
    scoring = _SCORE_S * len(part.model_ids)
    if not part.timed:
        return _PART_S + scoring
    timed = len(part.timed)
    energy = timed * _WINDOWS * _WINDOW_S if metered else 0.0
    return _PART_S + scoring + timed * (_STARTS_S + _MEMORY_S) + energy + measure.budget_s
