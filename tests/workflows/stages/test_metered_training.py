from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from kdbench.distill.training.metering import NO_METER
from kdbench.workflows.stages import train


@pytest.fixture
def meters(monkeypatch):
    made = []

    class Meter:
        def __init__(self, provider, *, estimate):
            made.append((provider, estimate))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            made.append("closed")

    monkeypatch.setattr(train, "EpochMeter", Meter)
    return made


def metered(**measure):
    recipe = SimpleNamespace(measure=SimpleNamespace(**{"energy": "quick", "estimate_energy": False, **measure}))
    with ExitStack() as stack:
        return train.meter_of(recipe, "cuda", stack)


def test_what_the_recipe_says_of_estimates_holds_for_trainings(meters):
    assert metered() is not NO_METER
    assert metered(estimate_energy=True) is not NO_METER
    assert meters == [("cuda", False), "closed", ("cuda", True), "closed"]


def test_no_meter_where_energy_is_off(meters):
    assert metered(energy="off") is NO_METER
    assert meters == []
