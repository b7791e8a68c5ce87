"""What people's networks return, and how they treat a batch: refused before anything is trained, with what to do."""

from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field uses

from kdbench import models
from kdbench.errors import KdbenchError
from kdbench.workflows.study.checks import networks as network_checks
from kdbench.workflows.study.checks.networks import _described, is_standard, require_usable

INPUTS = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A linear classifier of 1×4×4 images, whose forward returns `answer` of inputs and logits."""

    def __init__(self, answer=lambda _, logits: logits, classes=3):
        super().__init__()
        self.head = nn.Linear(16, classes)
        self.answer = answer

    def forward(self, images):
        return self.answer(images, self.head(images.flatten(1)))


def changed(images, logits):
    images.mul_(2)
    return logits


class Pair(NamedTuple):
    """Named outputs, as torchvision's GoogLeNet returns them."""

    logits: Tensor
    aux: Tensor | None


def test_probabilities_are_refused_where_logits_belong():
    network = Net(lambda _, logits: logits.softmax(dim=1))
    with pytest.raises(KdbenchError, match="returns probabilities") as caught:
        require_usable(network, INPUTS, 3, "mine", exported=False)
    assert "remove the softmax" in caught.value.hint
    require_usable(network, INPUTS, 3, "mine", task="regression", exported=False)
    require_usable(Net(lambda _, logits: logits.log_softmax(dim=1)), INPUTS, 3, "mine", exported=False)


@pytest.mark.parametrize("function", ["softmax", "sigmoid"])
def test_shares_are_refused_where_logits_belong_whatever_gives_them(function):
    """A sigmoid's add up to no 1, and in training mode alone the loss takes the second softmax."""
    give = {"softmax": partial(torch.softmax, dim=1), "sigmoid": torch.sigmoid}[function]

    class TrainingOnly(Net):
        def forward(self, images):
            logits = super().forward(images)
            return give(logits)[:, :3].view(-1, 3) if self.training else logits

    with pytest.raises(KdbenchError, match=f"in training mode returns the output of a {function}") as caught:
        require_usable(TrainingOnly(), INPUTS, 3, "mine", exported=False)
    assert f"remove the {function} at its end" in caught.value.hint
    require_usable(TrainingOnly(), INPUTS, 3, "mine", task="regression", exported=False)


@pytest.mark.parametrize("function", [torch.sigmoid, torch.tanh])
def test_a_teacher_that_ends_in_a_bounded_function_is_refused_by_its_file(function):
    """It has no graph of torch's: it does not train."""
    network = Net(lambda _, logits: function(logits))
    with pytest.raises(KdbenchError, match="returns the output of a sigmoid or tanh"):
        require_usable(network.requires_grad_(requires_grad=False), INPUTS, 3, "teacher", trains=False)
    require_usable(network, INPUTS, 3, "teacher", task="regression", trains=False)


def test_kdbenchs_own_network_with_weights_that_are_no_numbers_is_refused():
    """As a file of a diverged training gives them."""
    network = models.build("convnet", (1, 4, 4), 3, widths=[4])
    network.head[-1].weight.data[0, 0] = torch.nan
    with pytest.raises(KdbenchError, match="NaN or infinite"):
        require_usable(network, INPUTS, 3, "teacher", trains=False, exported=False)


class NeedsMore(Net):
    def forward(self, images, attention_mask):
        return self.head(images.flatten(1)) * attention_mask


class BatchNormOfTheBatch(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(16, track_running_stats=False)

    def forward(self, images):
        return self.head(self.norm(images.flatten(1)))


class TupleInTraining(Net):
    def forward(self, images):
        logits = self.head(images.flatten(1))
        return (logits, logits) if self.training else logits


def refused(network, outputs=3, **options):
    with pytest.raises(KdbenchError) as caught:
        require_usable(network, INPUTS, outputs, "mine", exported=False, **options)
    assert caught.value.exit_code == 3
    assert "'mine'" in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("answer", "says", "hint"),
    [
        (lambda _, y: (y, y.new_zeros(3, 64)), "tuple of (3, 3), (3, 64)", "return outputs[0]"),
        (lambda _, y: (y,), "tuple of (3, 3)", "return outputs[0]"),
        (lambda _, y: [y.new_zeros(3, 7), y], "list of (3, 7), (3, 3)", "return outputs[1]"),
        (lambda _, y: {"features": y.new_zeros(3, 7), "logits": y}, "logits: (3, 3)", "return outputs['logits']"),
        (lambda _, y: {"out": y}, "dict with out: (3, 3)", "return outputs['out']"),
        (lambda _, y: {"features": y.new_zeros(3, 7)}, "(3, 7)", "return the logits alone"),
        (lambda _, y: SimpleNamespace(logits=y), "SimpleNamespace", "return outputs.logits"),
        (lambda _, y: Pair(y, None), "Pair of (3, 3), NoneType", "return outputs.logits"),
        (lambda *_: None, "None", "return the logits alone"),
        (lambda _, y: y.unsqueeze(1), "(3, 1, 3)", "return outputs.flatten(1)"),
        (lambda _, y: y[:, :, None, None], "(3, 3, 1, 1)", "return outputs.flatten(1)"),
        (lambda _, y: y[:, None].expand(-1, 5, -1), "(3, 5, 3)", "outputs.mean(1)"),
        (lambda _, y: y[:, 0], "(3,)", "return the logits alone"),
        (lambda _, y: y.mean(), "()", "return the logits alone"),
        (lambda _, y: y.T[:2], "(2, 3)", "fixed batch sizes"),
        (lambda _, y: y.half(), "float16", "return outputs.float()"),
        (lambda _, y: (100 * y).long(), "int64", "return the logits"),
        (lambda _, y: y / 0, "NaN or infinite", "its weights"),
        (lambda x, y: y + x.mean(), "returns other outputs for a sample in a batch of 1", "evaluation mode"),
        (lambda _, y: F.dropout(y), "different outputs for the same inputs", "nn.Dropout"),
        (changed, "in place", "inputs.clone()"),
        (lambda x, y: y if len(x) > 1 else y[0], "(3,)", "squeeze(-1)"),
        (lambda _, y: y.detach(), "without a gradient", "detach"),
        (lambda x, y: y @ x.new_zeros(9, 3), "fails in evaluation mode on inputs (3, 1, 4, 4)", "in Python"),
    ],
)
def test_an_answer_that_is_no_logits_is_refused_with_what_to_return(answer, says, hint):
    error = refused(Net(answer))
    assert says in error.message
    assert hint in error.hint


class BackwardFailsSilently(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits):
        return logits.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError


def test_an_error_without_a_message_is_named_by_its_type():
    error = refused(Net(lambda _, y: BackwardFailsSilently.apply(y)))
    assert "has no gradient: RuntimeError" in error.message


def test_other_numbers_of_outputs_are_refused():
    assert "(3, 5)" in refused(Net(classes=5)).message
    one = refused(Net(lambda _, y: y[:, 0], classes=1), outputs=1)
    assert one.hint == "return outputs.unsqueeze(1)"


def test_a_batch_baked_in_is_named():
    error = refused(Net(lambda x, y: y * x.view(64, 16).mean()))
    assert "it takes only batches of 64" in error.message
    assert "flatten(1)" in error.hint


def test_other_arguments_are_refused():
    error = refused(NeedsMore())
    assert "attention_mask" in error.message
    assert "inputs alone" in error.hint


def test_batch_norm_of_the_batch_is_refused():
    assert "no sample may depend on its batch" in refused(BatchNormOfTheBatch()).hint


def test_training_mode_counts_only_for_what_trains():
    assert "in training mode" in refused(TupleInTraining()).message
    require_usable(TupleInTraining(), INPUTS, 3, "ready", trains=False, exported=False)


def test_modes_are_left_as_they_were():
    network = Net()
    network.head.eval()
    require_usable(network, INPUTS, 3, "mine", exported=False)
    assert network.training
    assert not network.head.training
    assert network.head.weight.grad is None


def test_a_network_that_does_not_export_is_refused():
    class Unexportable(Net):
        def forward(self, images):
            logits = self.head(images.flatten(1))
            return logits if float(images.sum()) > -1e9 else -logits

    with pytest.raises(KdbenchError, match="cannot be exported to ONNX") as caught:
        require_usable(Unexportable(), INPUTS, 3, "mine")
    assert caught.value.exit_code == 3


def test_a_sound_network_is_exported_once_and_one_of_kdbench_not_at_all(monkeypatch):
    exported = []
    write = network_checks.export_onnx
    monkeypatch.setattr(network_checks, "export_onnx", lambda *a: (exported.append(a), write(*a)))
    require_usable(Net(), INPUTS, 3, "mine")
    require_usable(models.build("convnet", (1, 4, 4), 3, widths=[4]), INPUTS, 3, "ours")
    assert len(exported) == 1


def test_what_is_kdbenchs_own():
    assert is_standard(models.build("convnet", (1, 4, 4), 3, widths=[4]))
    assert not is_standard(models.build("torchvision/squeezenet1_1", (3, 32, 32), 3))
    assert not is_standard(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))
    assert _described(torch.zeros(2)) == "a tensor (2,)"
