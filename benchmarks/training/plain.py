"""The loop that a competent user of PyTorch writes: a DataLoader with transforms on PIL images, a live teacher.

The loader's processes stay alive between epochs; the teacher is in evaluation mode and builds no graph.
"""

import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.training import workload as common
from benchmarks.training.stopwatch import seconds_once, seconds_per_step, timed
from benchmarks.training.workload import CE_WEIGHT, KD_WEIGHT, OPTIMIZER, PAD, TEMPERATURE, Workload
from kdbench.data.dataset import Dataset


def measure(workload: Workload, folder: Path) -> dict[str, Any]:
    """Train for the steps that are counted; return seconds per step, and what the first ones took beyond."""
    torch.set_num_threads(workload.threads)
    dataset = common.load()
    teacher, student = common.teacher(workload, dataset, folder), common.student(workload, dataset)
    loader = DataLoader(
        images(dataset),
        batch_size=workload.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workload.workers,
        persistent_workers=workload.workers > 0,
    )
    marks = train(teacher, student, loader, workload)
    return {
        "step_s": seconds_per_step(marks, workload.warmup, workload.steps),
        "once_s": seconds_once(marks, workload.warmup, workload.steps),
    }


def images(dataset: Dataset) -> datasets.CIFAR100:
    """Return torchvision's data set with the usual transforms of PIL images."""
    height = dataset.input_shape[1]
    transform = transforms.Compose(
        [
            transforms.RandomCrop(height, padding=PAD),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(dataset.mean, dataset.std),
        ]
    )
    return datasets.CIFAR100(os.environ["KDBENCH_DATA"], train=True, transform=transform)


def train(teacher: nn.Module, student: nn.Module, loader: DataLoader, workload: Workload) -> list[float]:
    """Distil until all counted steps are done; return when each batch was asked for."""
    optimizer = torch.optim.SGD(student.parameters(), **OPTIMIZER)
    student.train()
    marks: list[float] = []
    for number, (inputs, labels) in enumerate(timed(loader, marks)):
        if number == workload.warmup + workload.steps:
            break
        with torch.no_grad():
            teacher_logits = teacher(inputs)
        logits = student(inputs)
        divergence = F.kl_div(
            F.log_softmax(logits / TEMPERATURE, dim=1),
            F.softmax(teacher_logits / TEMPERATURE, dim=1),
            reduction="batchmean",
        )
        loss = CE_WEIGHT * F.cross_entropy(logits, labels) + KD_WEIGHT * TEMPERATURE**2 * divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return marks
