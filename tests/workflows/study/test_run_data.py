"""The parts of a run's data: also with parts split off or left out, a method has the numbers of its samples."""

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.data.dataset import Dataset, Split
from kdbench.data.selection import cut_validation
from kdbench.distill.method import Method, MethodContext, MethodOptions
from kdbench.distill.objective import Objective, ScheduledTerm
from kdbench.distill.teaching.teachers import cached_teacher
from kdbench.progress import Silent
from kdbench.recipe import Examples
from kdbench.results.preprocessing import Preprocessing
from kdbench.workflows.study.run_data import RunData

SAMPLES, CLASSES = 200, 10
# The number of a sample can be read off any crop of its image, and a table holds what belongs to it.
IMAGES = np.broadcast_to(np.arange(SAMPLES, dtype=np.uint8)[:, None, None, None], (SAMPLES, 1, 8, 8)).copy()
LABELS = np.random.default_rng(0).integers(0, CLASSES, SAMPLES)
LOGITS = torch.randn(SAMPLES, CLASSES, generator=torch.Generator().manual_seed(0))


def numbers_in(images):
    """Return the number (B,) that each normalised image shows in its middle."""
    return (images[:, 0, 4, 4] * 255).round().long()


@pytest.fixture(scope="module")
def run_data():
    split = Split(IMAGES, LABELS)
    train, validation = cut_validation(split, 0.2, 3)
    names = tuple(str(number) for number in range(CLASSES))
    dataset = Dataset("numbered", names, None, split, (0.0,), (1.0,), "made here")
    return RunData(dataset, "content", train, validation, Preprocessing(mean=(0.0,), std=(1.0,)))


class StoredLogits(Method):
    """Matches the logits that a table gives for the set's own samples, and notes whose they are."""

    Options = MethodOptions
    needs_teacher = False

    def __init__(self, context, part) -> None:
        super().__init__(MethodOptions(), context)
        self.part, self.context, self.seen = part, context, []

    def forward(self, step):
        shown = numbers_in(step.inputs)
        assert torch.equal(LOGITS[step.index], LOGITS[shown])
        assert torch.equal(torch.from_numpy(self.part.split.samples)[step.position], shown)
        assert torch.equal(self.context.labels[step.position], step.labels)
        wrong = set(self.part.split.samples[self.part.flipped].tolist())
        kept = torch.tensor([number not in wrong for number in step.index.tolist()])
        assert torch.equal(step.labels[kept], torch.from_numpy(LABELS)[step.index][kept])
        self.seen += step.index.tolist()
        return (step.student_logits - LOGITS[step.index]).square().mean()

    def formula(self) -> str:
        return "MSE(stored)"


EXAMPLES = [
    {},
    {"subset": {"random": 70, "seed": 1}},
    {"subset": {"first_per_class": 4}},
    {"subset": {"half": "D1"}},
    {"label_noise": {"share": 0.3}},
    {"augment": {"pad": 2, "flip": True}},
    {"augment": {"pad": 2, "views": 3}, "subset": {"random": 50}, "label_noise": {"count": 5}},
]


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("processes", [1, 2])
def test_stored_logits_are_matched_with_their_samples(run_data, examples, processes):
    examples = Examples.model_validate(examples)
    part = run_data.part_of(examples)
    shown = run_data.batches(part.split, 16, train=True, augment=examples.augment, seed=7)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    context = MethodContext(
        network, (), run_data.example(part.split, 2), torch.from_numpy(part.split.labels), CLASSES, lambda *_: network
    )
    seen = []
    for rank in range(processes):
        method = StoredLogits(context, part)
        objective = Objective(terms=[ScheduledTerm(method)])
        mine = shown.shared(rank, processes)
        for epoch in range(2):
            mine.set_epoch(epoch)
            for batch, bounds in zip(mine, mine.parts, strict=True):
                before = len(method.seen)
                objective(network, batch, epoch)
                if not bounds.counted:  # a small batch, which the first process counts
                    del method.seen[before:]
        seen += method.seen
    assert sorted(seen) == sorted([*part.split.samples, *part.split.samples])
    assert set(seen).isdisjoint(run_data.validation.samples.tolist())


class Numbering(nn.Module):
    """A teacher whose logits say which sample it was shown."""

    def forward(self, images):
        return numbers_in(images).float().unsqueeze(1).expand(-1, CLASSES)


@pytest.mark.parametrize("examples", [EXAMPLES[0], EXAMPLES[-1]])
def test_cached_logits_are_those_of_their_samples(run_data, tmp_path, examples):
    examples = Examples.model_validate(examples)
    part = run_data.part_of(examples)
    shown = run_data.batches(part.split, 16, train=True, augment=examples.augment, seed=7)
    options = {"precision": "32", "images": part.content, "progress": Silent()}
    teacher = cached_teacher(tmp_path, Numbering(), "t", shown, **options)
    for batch in shown:
        assert torch.equal(teacher.predict(batch).logits[:, 0].long(), batch.sample)
