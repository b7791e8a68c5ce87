"""Small networks and data for the tests of training: seconds, not minutes."""

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.data.batches import Batches
from kdbench.data.dataset import Split
from kdbench.distill.method import MethodContext, Step, TeacherOutput

EXAMPLE = torch.linspace(-1, 1, 128).view(2, 1, 8, 8)


class TinyNet(nn.Module):
    """Two stages and a head for 1×8×8 images of three classes."""

    stages = ("first", "second")

    def __init__(self, width: int = 4, dropout: float = 0.0, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.second(self.first(images)).mean(dim=(2, 3))
        return self.head(self.dropout(features))


def tiny(seed: int = 0, **options) -> TinyNet:
    torch.manual_seed(seed)
    return TinyNet(**options)


def stripes(samples: int, seed: int = 0) -> Split:
    """Images of three classes that a small network can tell apart: horizontal, vertical, no stripes, and noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % 3
    images = rng.integers(0, 90, (samples, 1, 8, 8))
    images[labels == 0, :, ::2, :] += 150
    images[labels == 1, :, :, ::2] += 150
    return Split(images.astype(np.uint8), labels.astype(np.int64))


def batches(split: Split, batch: int = 16, **options) -> Batches:
    return Batches(split, **{"batch": batch, "mean": (0.3,), "std": (0.3,), "train": False, **options})


def context(student: nn.Module | None = None, *teachers: nn.Module, **changes) -> MethodContext:
    """What a method is told of a small student and its teachers; 48 training samples of three classes."""
    usual = {
        "student": student or tiny(),
        "teachers": teachers or (tiny(1, width=8),),
        "example": EXAMPLE,
        "labels": torch.arange(48) % 3,
        "classes": 3,
        "build": lambda _model, number: tiny(100 + number),
    }
    return MethodContext(**{**usual, **changes})


def random_logits(batch: int = 6, seed: int = 0) -> Tensor:
    return 3 * torch.randn(batch, 3, generator=torch.Generator().manual_seed(seed))


def step(
    student_logits: Tensor, *teacher_logits: Tensor, student_features=None, teacher_features=None, **changes
) -> Step:
    """A step of such logits, whose first samples are those of the split."""
    batch = len(student_logits)
    usual = {
        "inputs": torch.zeros(batch, 1, 8, 8),
        "labels": torch.arange(batch) % 3,
        "index": torch.arange(batch),
        "position": torch.arange(batch),
        "epoch": 0,
        "student_logits": student_logits,
        "student_features": student_features or {},
        "teacher_outputs": tuple(TeacherOutput(logits, teacher_features or {}) for logits in teacher_logits),
    }
    return Step(**{**usual, **changes})
