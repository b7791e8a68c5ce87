import pytest
from pydantic import ValidationError

from kdbench.options import INPUTS
from kdbench.recipe import InputOptions, Measure


def test_every_setting_has_an_option():
    not_typed = {"models", "geometry", "channel_axis"}  # MODEL=VALUE fills the first, a card the others
    assert INPUTS.keys() == InputOptions.model_fields.keys() - not_typed


@pytest.mark.parametrize(
    "wrong", [{"std": (0.0,)}, {"std": ()}, {"scale": 0.0}, {"resize": 0}, {"crop": -1}, {"mena": (0.5,)}]
)
def test_values_that_no_input_can_have_are_refused(wrong):
    with pytest.raises(ValidationError):
        InputOptions(**wrong)


def test_times_are_measured_unless_they_are_left_out_and_older_hashes_stay() -> None:
    assert "times" not in Measure().model_dump()
    assert Measure(times=False).model_dump()["times"] is False
