"""The local functions of an ONNX model, which exporters may write in place of a module's operators."""

from typing import TYPE_CHECKING

from kdbench.errors import InputError, first_line

if TYPE_CHECKING:
    import onnx


def inlined(model: "onnx.ModelProto", name: str) -> "onnx.ModelProto":
    """Return the model of `name` with the nodes of its local functions in place of their calls.

    Raises InputError for functions that do not fit their calls.
    """
    if not model.functions:
        return model
    import onnx.inliner  # `import onnx` does not import it

    try:
        return onnx.inliner.inline_local_functions(model)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        message = f"the local functions of {name} cannot be resolved: {first_line(error)}"
        raise InputError(message, "export the model again") from error
