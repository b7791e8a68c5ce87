"""Networks that remember something beside their weights are refused: it would be lost with the training's end."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.errors import InputError
from kdbench.workflows.study.checks.networks import require_usable

INPUTS = torch.rand(3, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, inputs):
        return self.head(self.features(self.body(inputs).relu()))

    def features(self, features):
        return features


class Centred(Net):
    """With the mean of the features in a buffer, as a network should keep it."""

    def __init__(self, *, persistent=True):
        super().__init__()
        self.register_buffer("centre", torch.zeros(6), persistent=persistent)

    def features(self, features):
        if self.training:
            self.centre = 0.9 * self.centre + 0.1 * features.detach().mean(dim=0)
        return features - self.centre


class Unsaved(Centred):
    def __init__(self):
        super().__init__(persistent=False)


class Plain(Net):
    centre = 0.0

    features = Centred.features


class Counting(Net):
    """Dropout that grows from step to step."""

    steps = 0

    def features(self, features):
        self.steps += self.training
        return nn.functional.dropout(features, 0.1 * self.steps, self.training)


class OwnNoise(Net):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def features(self, features):
        return features + torch.rand(6, generator=self.generator) if self.training else features


class NumpyNoise(OwnNoise):
    def __init__(self):
        super().__init__()
        self.noise = np.random.default_rng(0)

    def features(self, features):
        return features + float(self.noise.random()) if self.training else features


class Late(Net):
    """Makes a layer in its first forward pass, too late for any optimiser."""

    def features(self, features):
        if not hasattr(self, "late"):
            self.late = nn.Linear(6, 6)
        return self.late(features)


class Growing(Centred):
    def features(self, features):
        if self.training:
            self.centre = features.detach()[:2]
        return features


class Random(Net):
    def __init__(self):
        super().__init__()
        self.body.weight.data = torch.from_numpy(np.random.default_rng().random((6, 8), np.float32))


class Noted(Net):
    def get_extra_state(self):
        return {"steps": 3}

    def set_extra_state(self, state):
        pass


class Rarely(Net):
    """Random in evaluation mode, too, so rarely that no test of its outputs shows it."""

    draw = staticmethod(lambda: torch.rand(()))

    def features(self, features):
        return features * (self.draw() > 1e-9)


class RarelyByPython(Rarely):
    draw = staticmethod(random.random)


class RarelyByNumpy(Rarely):
    draw = staticmethod(np.random.random)


class Forgetful(Net):
    """Remembers the last batch in evaluation mode."""

    last = 0.0

    def features(self, features):
        before, self.last = self.last, self.last + 1
        return features + before


def used(kind, **options):
    def again():
        torch.manual_seed(0)
        return kind()

    require_usable(again(), INPUTS, 3, "mine", exported=False, rebuild=again, **options)


@pytest.mark.parametrize("kind", [Net, Centred])
def test_what_the_state_dict_holds_may_change(kind):
    used(kind)


@pytest.mark.parametrize(
    ("kind", "says", "hint"),
    [
        (Unsaved, "returns other outputs after its weights are saved", "register_buffer"),
        (Plain, "returns other outputs after its weights are saved", "register_buffer"),
        (Counting, "trains differently after its weights are saved", "register_buffer"),
        (OwnNoise, "trains differently after its weights are saved", "torch's own generator"),
        (NumpyNoise, "trains differently after its weights are saved", "torch's own generator"),
        (Late, "'late.weight' of shape (6, 6) that did not exist", "__init__"),
        (Growing, "'centre' of shape (2, 6) that had the shape (6,)", "__init__"),
        (Random, "other values of body.weight each time", "generator"),
        (Noted, "saves _extra_state", "register_buffer"),
        (Rarely, "draws random numbers in evaluation mode", "nn.Dropout"),
        (RarelyByPython, "draws random numbers in evaluation mode", "nn.Dropout"),
        (RarelyByNumpy, "draws random numbers in evaluation mode", "nn.Dropout"),
        (Forgetful, "returns different outputs for the same inputs in evaluation mode", "change no state"),
    ],
)
def test_what_would_be_lost_is_refused(kind, says, hint):
    with pytest.raises(InputError) as refused:
        used(kind)
    assert says in refused.value.message
    assert hint in refused.value.hint


def test_a_ready_network_may_train_in_its_own_way():
    used(Counting, trains=False)
    with pytest.raises(InputError, match="returns different outputs for the same inputs"):
        used(Forgetful, trains=False)
