"""A plain function as a distillation method: its parameters are fields of a step, and options with defaults.

For example:

    def my_loss(student_logits, teacher_logits, labels, weight=0.5):
        return weight * ...                  # a scalar, already weighted
"""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import create_model
from torch import Tensor

from kdbench.distill.method import Method, MethodOptions, Step
from kdbench.errors import InputError
from kdbench.plugins.calling import parameters_of

STEP_FIELDS = ("step", "inputs", "labels", "index", "position", "epoch", "student_logits", "teacher_logits")


def method_of(function: Callable[..., Tensor], name: str) -> type[Method]:
    """Return the method whose loss is `function`; its other parameters, which need defaults, are the options.

    Raises InputError for a parameter that neither is a field of a step nor has a default.
    """
    parameters = [p for p in parameters_of(function) if p.kind is not inspect.Parameter.VAR_KEYWORD]
    unknown = [p.name for p in parameters if p.name not in STEP_FIELDS and p.default is p.empty]
    if unknown or not any(p.name in STEP_FIELDS for p in parameters):
        fault = f"has the unknown parameters {', '.join(unknown)}" if unknown else "takes nothing of a step"
        message = f"method {name!r}: the function {fault}"
        raise InputError(message, f"a function can take {', '.join(STEP_FIELDS)}, and options that have a default")
    step_fields = tuple(p.name for p in parameters if p.name in STEP_FIELDS)
    options: dict[str, Any] = {p.name: (Any, p.default) for p in parameters if p.name not in STEP_FIELDS}

    class FunctionMethod(Method):
        Options: ClassVar[type[MethodOptions]] = create_model("Options", __base__=MethodOptions, **options)
        needs_teacher: ClassVar[bool] = bool({"step", "teacher_logits"} & set(step_fields))

        def forward(self, step: Step) -> Tensor:
            values = {field: step if field == "step" else getattr(step, field) for field in step_fields}
            return function(**values, **{name: getattr(self.options, name) for name in options})

    FunctionMethod.__name__ = FunctionMethod.__qualname__ = getattr(function, "__name__", name)
    FunctionMethod.__module__ = function.__module__
    FunctionMethod.function = staticmethod(function)  # type: ignore[attr-defined]
    return FunctionMethod
