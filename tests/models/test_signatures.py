"""Networks from user code get the arguments that their signatures declare."""

import pytest
from torch import nn

from kdbench.errors import InputError
from kdbench.models import MODELS, build

SHAPE = (13, 5, 6)


class Net(nn.Module):
    def __init__(self, **values):
        super().__init__()
        self.values = values


def one(num_classes, in_channels, input_shape, width=8):
    return Net(a=num_classes, b=in_channels, c=input_shape, d=width)


def two(classes, in_chans=3, channels=64):
    return Net(a=classes, b=in_chans, d=channels)


def three(outputs, *, channels):
    return Net(a=outputs, b=channels)


def usual(channels=3, outputs=1000):
    return Net(a=outputs, b=channels)


def wide(channels=64):
    return Net(d=channels)


def factory(name, shape, classes, /, *, width: int = 3):
    return Net(a=classes, b=shape[0], c=shape, d=width, name=name)


class Subclass(Net):
    def __init__(self, num_classes=10):
        super().__init__(a=num_classes)


SAME = Net()


@pytest.fixture(autouse=True)
def _registered():
    for entry in (one, two, three, usual, wide, factory, Subclass):
        MODELS.register(entry.__name__)(entry)
    MODELS.register("same")(lambda: SAME)
    MODELS.register("object")(SAME)
    MODELS.register("list")(lambda: [1])
    MODELS.register("faulty")(lambda: {}["width"])
    MODELS.register("needs")(lambda depth: depth)
    yield
    MODELS.forget(__name__)


@pytest.mark.parametrize(
    ("name", "options", "values"),
    [
        ("one", {}, {"a": 7, "b": 13, "c": SHAPE, "d": 8}),
        ("one", {"width": 2, "num_classes": 5}, {"a": 5, "b": 13, "c": SHAPE, "d": 2}),
        ("two", {}, {"a": 7, "b": 13, "d": 64}),
        ("two", {"channels": 16}, {"a": 7, "b": 13, "d": 16}),
        ("three", {}, {"a": 7, "b": 13}),
        ("usual", {}, {"a": 7, "b": 13}),
        ("wide", {}, {"d": 64}),
        ("factory", {"width": "4"}, {"a": 7, "b": 13, "c": SHAPE, "d": 4, "name": "factory"}),
        ("Subclass", {}, {"a": 7}),
    ],
)
def test_a_network_gets_the_arguments_that_it_names(name, options, values):
    assert build(name, SHAPE, 7, **options).values == values


def test_channels_are_those_of_the_data_set():
    assert build("three", (9, 4), 7, 4).values == {"a": 7, "b": 4}
    assert build("three", (9, 4), 7).values == {"a": 7, "b": 9}


@pytest.mark.parametrize(
    ("name", "options", "message", "hint"),
    [
        ("one", {"witdh": 2}, "unknown option 'witdh'", "did you mean 'width'"),
        ("factory", {"witdh": 2}, "unknown option 'witdh'", "did you mean 'width'"),
        ("needs", {}, "needs arguments: depth", 'model = { name = "needs", depth = … }'),
        ("faulty", {}, "KeyError: 'width'", "test_signatures.py"),
        ("list", {}, "returns list", "torch.nn.Module"),
        ("object", {}, "object of type Net", "returns a new network"),
        ("tests.gone:Net", {}, "no module 'tests.gone'", "searched"),
    ],
)
def test_what_makes_no_network_is_refused(name, options, message, hint):
    with pytest.raises(InputError) as caught:
        build(name, SHAPE, 7, **options)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_network_that_is_not_new_is_refused():
    build("same", SHAPE, 7)
    with pytest.raises(InputError, match="the same network at every call"):
        build("same", SHAPE, 7)
