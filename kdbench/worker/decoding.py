"""JSON values as dataclasses: jobs, plans and results that another process wrote. Standard library only."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, cast, get_args, get_origin, get_type_hints


def decode(kind: Any, value: Any) -> Any:
    """Return a JSON value as an instance of `kind`: a dataclass, or a type that its fields may have.

    Lists of an untyped value become tuples.
    """
    arguments = get_args(kind)
    if is_dataclass(kind):
        hints, build = get_type_hints(kind), cast("type[Any]", kind)
        return build(**{f.name: decode(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value})
    if type(None) in arguments:
        return None if value is None else decode(next(a for a in arguments if a is not type(None)), value)
    if get_origin(kind) is tuple and not (len(arguments) == 2 and arguments[1] is ...):
        return tuple(decode(of, v) for of, v in zip(arguments, value))
    if get_origin(kind) in {tuple, list}:
        return get_origin(kind)(decode(arguments[0], v) for v in value)
    return tuple(decode(Any, v) for v in value) if kind is Any and isinstance(value, list) else value
