"""A live teacher is asked, and nothing else happens to it."""

import torch
from networks import EXAMPLE, tiny

from kdbench.data.batches import Batch
from kdbench.distill.teacher import LiveTeacher

BATCH = Batch(EXAMPLE, torch.zeros(2, dtype=torch.long), torch.arange(2))


def test_it_answers_in_evaluation_mode_without_a_graph():
    teacher = LiveTeacher(tiny(dropout=0.5).train())
    first, second = teacher.lesson(BATCH, ("second",)), teacher.lesson(BATCH)
    torch.testing.assert_close(first.logits, second.logits)  # dropout and batch statistics are off
    assert not first.logits.requires_grad
    assert not first.features["second"].requires_grad
    assert second.features == {}


def test_it_is_asked_with_gradients_off_whatever_the_student_does():
    network, recording = tiny(), []
    network.register_forward_hook(lambda *_: recording.append(torch.is_grad_enabled()))
    with torch.enable_grad():
        LiveTeacher(network).lesson(BATCH)
    assert recording == [False]


def test_its_answers_take_part_in_a_students_backward_pass():
    """Tensors of inference mode would refuse to be saved for it."""
    lesson = LiveTeacher(tiny()).lesson(BATCH, ("second",))
    weight = torch.ones(3, requires_grad=True)
    (weight * lesson.logits).sum().backward()
    torch.testing.assert_close(weight.grad, lesson.logits.sum(dim=0))
    assert not lesson.features["second"].is_inference()


def test_being_asked_changes_nothing_of_it():
    network = tiny().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    teacher = LiveTeacher(network)
    for _ in range(3):
        teacher.lesson(BATCH, ("first",))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not network.first._forward_hooks


def test_without_logits_it_is_run_no_further_than_the_last_layer_that_is_asked_for():
    network, reached = tiny(), []
    for name in ("first", "second", "head"):
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: reached.append(name))
    teacher = LiveTeacher(network)
    lesson = teacher.lesson(BATCH, ("first",), logits=False)
    assert reached == ["first"]
    assert lesson.logits is None
    torch.testing.assert_close(lesson.features["first"], teacher.lesson(BATCH, ("first",)).features["first"])
    reached.clear()
    teacher.lesson(BATCH, ("second", "first"), logits=False)
    assert reached == ["first", "second"]
