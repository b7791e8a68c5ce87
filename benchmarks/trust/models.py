"""The models of both experiments, exported once, with random weights: the time of a call does not depend on them.

(It would not with denormal weights; the networks' initialisations have none, and `exported` makes sure of it.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.measure.bench_model import BenchModel
from kdbench.modelfile.facts import inspect
from kdbench.results.cards import ModelCard

CLASSES = 10
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


@dataclass(frozen=True)
class Net:
    """A network of kdbench.models for samples of `shape`: channels, height, width."""

    name: str
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Pair:
    """A teacher and a student, what is known of them, and how narrow an interval of their ratio ought to be at most."""

    teacher: Net
    student: Net
    half_width_goal: float  # a share of the ratio
    about: str = ""

    @property
    def title(self) -> str:
        """The pair as a ratio is written: teacher : student."""
        return f"{self.teacher.name} : {self.student.name}"


PAIRS = {
    "conv": Pair(
        Net("resnet56", CIFAR),
        Net("resnet20", CIFAR),
        0.02,
        "Convolutional nets bound by computing: the residual pair of Tian et al. 2020 (arXiv:1910.10699).",
    ),
    "dense": Pair(
        Net("784-1200-1200-10", MNIST),
        Net("784-300-10", MNIST),
        0.05,
        "Bound by memory: the teacher's 9.6 MB of weights do not fit a core's own cache, the student's 1 MB may.",
    ),
    "vgg": Pair(
        Net("vgg11_bn", CIFAR),
        Net("resnet20", CIFAR),
        0.05,
        """VGG-11 reads 39 MB of weights at every call. How fast that goes depends on what else uses the last cache
        and the memory, and the student's time does not: this ratio itself moves with the neighbours' work.""",
    ),
}
PEERS = (Net("784-50-10", MNIST), Net("resnet20", CIFAR), Net("vgg11_bn", CIFAR))


def exported(net: Net, folder: Path) -> Path:
    """Return the ONNX file of `net` in `folder`, exporting it if it is not there yet."""
    path = folder / f"{net.name}.onnx"
    if not path.exists():
        import torch

        from kdbench.export.onnx import export_onnx
        from kdbench.models import build

        torch.manual_seed(0)
        network = build(net.name, net.shape, CLASSES)
        tiny = torch.finfo(torch.float32).tiny
        denormal = sum(int(((w != 0) & (w.abs() < tiny)).sum()) for w in network.parameters())
        if denormal:
            raise InputError(f"{net.name} has {denormal} denormal weights: its calls would cost more", "choose a seed")
        export_onnx(network, net.shape, storage.make_folder(folder) / path.name)
    return path


def bench_models(nets: Sequence[Net], folder: Path) -> list[BenchModel]:
    """Return `nets` as kdbench measures them; the first is the others' teacher."""
    return [bench_model(exported(net, folder), None if net is nets[0] else nets[0].name) for net in nets]


def bench_model(path: Path, teacher: str | None = None) -> BenchModel:
    """Return a file as kdbench measures it, compared with the model called `teacher`."""
    facts = inspect(path)
    shape = tuple(size or 1 for size in facts.sample_shape)
    card = ModelCard(
        id=path.stem,
        name=path.stem,
        role="student" if teacher else "teacher",
        parents=(teacher,) if teacher else (),
        file=path.name,
        sha256=facts.sha256,
        input_shape=shape,
        layout=facts.layout,
        fixed_batch=facts.fixed_batch,
        classes=facts.classes,
        parameters=facts.parameters,
    )
    return BenchModel(card, path, facts, teacher)
