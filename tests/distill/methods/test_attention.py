import numpy as np
import pytest
import torch
from distill.networks import context, step, tiny
from torch import nn

from kdbench.distill.methods.attention import Attention, _spread
from kdbench.errors import InputError

LOGITS = torch.zeros(4, 3)


class Deep(nn.Module):
    """A network of three stages."""

    stages = ("stem", "body.first", "body.second")

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.body = tiny(width=4)
        self.body.first[0] = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images):
        return self.body(self.stem(images))


def attention(networks=None, **options):
    return Attention.from_recipe("attention", options, networks or context())


def attention_map(maps):
    """Zagoruyko & Komodakis 2017, section 3.1, in numpy: flattened mean of squares, of length 1."""
    energy = (maps.double().numpy() ** 2).mean(axis=1).reshape(len(maps), -1)
    return energy / np.linalg.norm(energy, axis=1, keepdims=True)


def test_it_is_the_sum_over_layers_of_the_mean_squared_difference_of_maps():
    student = {"first": torch.randn(4, 4, 8, 8), "second": torch.randn(4, 8, 4, 4)}
    teacher = {"first": torch.randn(4, 8, 8, 8), "second": torch.randn(4, 16, 4, 4)}
    result = attention(attention_weight=10)(
        step(LOGITS, LOGITS, student_features=student, teacher_features=teacher)
    ).item()
    squares = [(attention_map(student[layer]) - attention_map(teacher[layer])) ** 2 for layer in student]
    assert result == pytest.approx(10 * sum(difference.mean() for difference in squares), rel=1e-5)


def test_maps_of_different_sizes_are_pooled_to_the_smaller():
    student, teacher = {"first": torch.randn(4, 4, 8, 8)}, {"second": torch.randn(4, 16, 4, 4)}
    term = attention(student_layers=["first"], teacher_layers=["second"])
    pooled = student["first"].unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean(dim=(3, 5))
    expected = 1000 * ((attention_map(pooled) - attention_map(teacher["second"])) ** 2).mean()
    result = term(step(LOGITS, LOGITS, student_features=student, teacher_features=teacher)).item()
    assert result == pytest.approx(expected, rel=1e-5)


def test_all_stages_are_compared_without_the_stem():
    assert attention().student_layers == attention().teacher_layers == ("first", "second")


@pytest.mark.parametrize("deep_is", ["student", "teacher"])
def test_of_unequal_numbers_of_stages_the_more_are_spread_evenly(deep_is):
    deep = attention(context(Deep()) if deep_is == "student" else context(None, Deep()))
    result = {"student": deep.student_layers, "teacher": deep.teacher_layers}
    assert result.pop(deep_is) == ("body.first", "body.second")
    assert set(result.values()) == {("first", "second")}


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"student_layers": ["first"]}, "1 layers of the student and 2 of the teacher", "the same number of paths"),
        ({"student_layers": ["first", "head"]}, "'head' of TinyNet returns vectors or maps of one cell", "larger maps"),
        ({"student_layers": ["first", "third"]}, "no layer 'third'", "its layers: first, second"),
        ({"student_layers": "first"}, "student_layers", "options: attention_weight, student_layers"),
    ],
)
def test_layers_that_cannot_be_compared_are_refused_with_a_hint(options, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        attention(**options)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("count", "of", "expected"), [(3, 3, "abc"), (2, 3, "bc"), (3, 4, "bcd"), (3, 12, "dhl"), (1, 4, "d")]
)
def test_layers_are_spread_evenly_and_the_last_is_among_them(count, of, expected):
    assert _spread("abcdefghijkl"[:of], count) == tuple(expected)


class Shrinking(nn.Module):
    """A network whose last stages have maps of one cell."""

    stages = ("coarse", "cell", "still")

    def __init__(self):
        super().__init__()
        self.coarse, self.cell = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Sequential(nn.AdaptiveAvgPool2d(1))
        self.still, self.head = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, images):
        return self.head(self.still(self.cell(self.coarse(images))).flatten(1))


def test_stages_of_one_cell_are_left_out():
    result = attention(context(Shrinking()))
    assert (result.student_layers, result.teacher_layers) == (("coarse",), ("second",))
    shrinking = Shrinking()
    shrinking.stages = ("cell", "still")
    with pytest.raises(InputError, match="compares positions"):
        attention(context(shrinking))
    with pytest.raises(InputError, match="'still' of Shrinking returns vectors or maps of one cell"):
        attention(context(Shrinking()), student_layers=["coarse", "still"])


def test_a_network_without_stages_needs_named_layers():
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    with pytest.raises(InputError, match="declares no stages"):
        attention(context(plain))
    named = attention(context(plain), student_layers=["0"], teacher_layers=["first"])
    assert named.formula() == "1000·Σ mean((Q_s − Q_t)²) over 0–first"
