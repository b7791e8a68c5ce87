import pytest

from kdbench.errors import InputError
from kdbench.plugins import called, raised_by_user_code


def shown(*args, **options):
    return args, options


def test_a_function_gets_what_it_names_and_options_win():
    def function(a, b=2, *, c=3):
        return a, b, c

    assert called(function, {"a": 1, "z": 9}, {"c": 7}, "f") == (1, 2, 7)
    assert called(function, {"a": 1}, {"a": 5}, "f") == (5, 2, 3)


def test_positional_and_open_parameters():
    def positional(a, b, /, c):
        return a, b, c

    assert called(positional, {"a": 1, "b": 2, "c": 3}, {}, "f") == (1, 2, 3)
    assert called(shown, {"a": 1}, {"any": 2}, "f") == ((), {"any": 2})


class Net:
    def __init__(self, classes, channels, width=8):
        self.arguments = (classes, channels, width)


class PassesAll(Net):
    def __init__(self, *args, **keywords):
        super().__init__(*args, **keywords)


class Deeper(PassesAll):
    def __init__(self, depth=2, **keywords):
        super().__init__(**keywords)
        self.depth = depth


class SetsSome(PassesAll):
    def __init__(self, **keywords):
        super().__init__(5, width=3, **keywords)


@pytest.mark.parametrize(
    ("kind", "options", "arguments"),
    [
        (PassesAll, {}, (10, 13, 8)),
        (PassesAll, {"width": 4}, (10, 13, 4)),
        (Deeper, {"depth": 3, "width": 4}, (10, 13, 4)),
        (SetsSome, {}, (5, 13, 3)),
    ],
)
def test_a_class_that_passes_keywords_on_gets_those_of_its_base(kind, options, arguments):
    assert called(kind, {"classes": 10, "channels": 13, "other": 1}, options, "f").arguments == arguments


def test_unknown_options_of_a_base_class_are_refused_and_what_a_class_sets_cannot_be_set_again():
    with pytest.raises(InputError, match="unknown option 'witdh'") as caught:
        called(Deeper, {"classes": 10, "channels": 13}, {"witdh": 4}, "f")
    assert caught.value.hint == "did you mean 'width'?"
    with pytest.raises(InputError, match="multiple values"):
        called(SetsSome, {"channels": 13}, {"width": 4}, "f")


def test_unknown_options_name_the_nearest():
    with pytest.raises(InputError, match="unknown option 'witdh'") as caught:
        called(lambda width=1: width, {}, {"witdh": 2}, "f")
    assert caught.value.hint == "did you mean 'width'?"


def test_a_missing_argument_and_a_failure_are_told():
    with pytest.raises(InputError, match="f needs arguments: depth") as caught:
        called(lambda depth: depth, {"width": 1}, {}, "f", hint="write {} = …")
    assert caught.value.hint.startswith("write depth = …")
    with pytest.raises(InputError, match="ZeroDivisionError") as caught:
        called(lambda width: width / 0, {"width": 1}, {}, "f")
    assert __file__ in caught.value.hint


def failure(function):
    try:
        function()
    except Exception as error:  # noqa: BLE001 - any
        return error
    return None


def test_an_error_is_the_users_where_their_code_is_on_the_way_to_it():
    assert raised_by_user_code(failure(lambda: [].index(3)))
    assert not raised_by_user_code(ValueError("raised by nobody"))
    for others in (MemoryError(), OSError("disk"), RuntimeError("CUDA out of memory"), InputError("wrong")):
        assert not raised_by_user_code(failure(lambda error=others: (_ for _ in ()).throw(error)))
