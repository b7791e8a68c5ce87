"""Options in the name of a data set: `digits:test=0.5`, `noisy_linear:features=50,noise=0.5`."""

from typing import Any, TypeVar

from pydantic import ValidationError

from kdbench.errors import InputError
from kdbench.user_input.validation import Value, problem

T = TypeVar("T", bound=Value)


def options_in_name(name: str, options: type[T], example: str) -> T:
    """Return the `options` after the colon of `name`, written as `key=value` and separated by commas, in any order.

        options_in_name("digits:test=0.5", Digits, "digits:test=0.5").test  # 0.5

    Raises InputError, with the `example`, for an unknown option, an invalid value, and an option that is given twice.
    """
    pairs = [part.partition("=") for part in name.partition(":")[2].split(",") if part.strip()]
    values: dict[str, Any] = {}
    for key, sign, value in pairs:
        if not sign or key.strip() in values:
            fault = "is given twice" if sign else "has no value"
            raise InputError(f"data set {name!r}: {key.strip()!r} {fault}", f"write {example}")
        values[key.strip()] = value.strip()
    try:
        return options.model_validate(values)
    except ValidationError as error:
        known = f"options: {', '.join(options.model_fields)}"
        raise problem(error, options, noun="option").as_error(f"data set {name!r}", known) from error
