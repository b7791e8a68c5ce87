import pickle

import numpy as np
import pytest
from pydantic import ValidationError

from kdbench.errors import InputError
from kdbench.recipe import InputOptions, Measure, Recipe
from kdbench.user_input.options import INPUTS


def test_every_setting_has_an_option():
    not_typed = {"models", "geometry", "channel_axis"}  # MODEL=VALUE fills the first, a card the others
    assert INPUTS.keys() == InputOptions.model_fields.keys() - not_typed


@pytest.mark.parametrize(
    "wrong", [{"std": (0.0,)}, {"std": ()}, {"scale": 0.0}, {"resize": 0}, {"crop": -1}, {"mena": (0.5,)}]
)
def test_values_that_no_input_can_have_are_refused(wrong):
    with pytest.raises(ValidationError):
        InputOptions(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message", "hint"),
    [
        ({"budget_s": -1}, "Measure: budget_s: -1 should be greater than 0", "help(kdbench.Measure)"),
        ({"threads": "two"}, "Measure: threads.0: 'two' should be a valid integer", "help(kdbench.Measure)"),
        ({"budget": 3}, "Measure: unknown key 'budget'", "did you mean 'budget_s'?"),
    ],
)
def test_measure_with_a_wrong_argument_says_what_to_write(wrong, message, hint):
    with pytest.raises(InputError) as raised:
        Measure(**wrong)
    assert raised.value.message.startswith(message)
    assert raised.value.hint.startswith(hint)


def test_in_a_recipe_it_is_validated_with_the_rest():
    with pytest.raises(ValidationError, match=r"measure\.budget_s"):
        Recipe.model_validate({"measure": {"budget_s": -1}})
    assert pickle.loads(pickle.dumps(Measure(budget_s=3))) == Measure(budget_s=3)


def test_times_are_measured_unless_they_are_left_out_and_older_hashes_stay() -> None:
    assert "times" not in Measure().model_dump()
    assert Measure(times=False).model_dump()["times"] is False


@pytest.mark.parametrize("threads", [np.array([1, 2]), range(1, 3), (np.int64(1), np.int64(2))])
def test_several_values_may_be_an_array_or_a_range(threads):
    assert Measure(threads=threads, batch=np.int32(4)) == Measure(threads=[1, 2], batch=[4])
