import pytest

from kdbench import errors


def test_exit_codes_are_those_documented():
    assert (errors.EXIT_BAD_INPUT, errors.EXIT_INTERNAL, errors.EXIT_INTERRUPTED) == (3, 4, 130)


@pytest.mark.parametrize(
    "kind",
    [errors.InputError, errors.DataMissingError, errors.StorageError, errors.DivergedError, errors.MeasurementError],
)
def test_whatever_a_user_can_mend_is_bad_input_with_message_and_hint(kind):
    error = kind("what is wrong", "what to do")
    assert isinstance(error, errors.KdbenchError)
    assert (error.message, error.hint, error.exit_code) == ("what is wrong", "what to do", errors.EXIT_BAD_INPUT)
    assert str(error) == "what is wrong"
