"""torchdistill (Matsubara 2021), as its image-classification example uses it, with its own KDLoss and loaders.

The example leaves the teacher in the mode it was built in; here it is put into evaluation mode, as it should be.
Its meters and its log are left out, which can only make it faster.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import RandomSampler
from torchdistill.core.distillation import DistillationBox, get_distillation_box

from benchmarks.training import workload as common
from benchmarks.training.plain import images
from benchmarks.training.stopwatch import seconds_once, seconds_per_step, timed
from benchmarks.training.workload import CE_WEIGHT, KD_WEIGHT, OPTIMIZER, TEMPERATURE, Workload
from kdbench.data.dataset import Dataset


def measure(workload: Workload, folder: Path) -> dict[str, Any]:
    """Train for the steps that are counted; return seconds per step, and what the first ones took beyond."""
    torch.set_num_threads(workload.threads)
    dataset = common.load()
    teacher, student = common.teacher(workload, dataset, folder), common.student(workload, dataset)
    marks = train(_box(teacher, student, dataset, workload), workload)
    return {
        "step_s": seconds_per_step(marks, workload.warmup, workload.steps),
        "once_s": seconds_once(marks, workload.warmup, workload.steps),
    }


def train(box: DistillationBox, workload: Workload) -> list[float]:
    """Distil until all counted steps are done; return when each batch was asked for."""
    marks: list[float] = []
    box.pre_epoch_process(epoch=0)
    for number, (inputs, labels, supplement) in enumerate(timed(box.train_data_loader, marks)):
        if number == workload.warmup + workload.steps:
            break
        loss = box.forward_process(inputs, labels, supplement)
        box.post_forward_process(loss=loss)
    return marks


def _box(teacher: nn.Module, student: nn.Module, dataset: Dataset, workload: Workload) -> DistillationBox:
    at_the_end = {"student_module_path": ".", "student_module_io": "output"}
    at_the_end |= {"teacher_module_path": ".", "teacher_module_io": "output"}
    loss = {
        "key": "KDLoss",
        "kwargs": {**at_the_end, "temperature": TEMPERATURE, "alpha": CE_WEIGHT, "beta": KD_WEIGHT},
    }
    config = {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {
                "batch_size": workload.batch,
                "num_workers": workload.workers,
                "drop_last": True,
                "persistent_workers": workload.workers > 0,
            },
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only"},
        "optimizer": {"key": "SGD", "kwargs": dict(OPTIMIZER)},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}}},
    }
    return get_distillation_box(
        teacher, student, {"train": images(dataset)}, config, torch.device("cpu"), None, distributed=False, lr_factor=1
    )
