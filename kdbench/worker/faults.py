"""A runtime's exception as readable text, without numbering, paths and C++ signatures, and a remedy for it."""

from __future__ import annotations

import re

_MAX_CHARACTERS = 500  # the beginning and the end are kept
_MAX_READ = 4_000  # of a message: the time of the patterns is quadratic in its length, and names have any length
_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_LOAD = re.compile(r"^(?:Exception during (?:initialization|loading): ?)?(?:Load model from .+? failed: ?)?")
_PLACE = re.compile(r"(?<!\S)\S*\.(?:cc|h|hpp|cpp|cu|cuh):\d+ (?=\S)")
_SIGNATURE = re.compile(r"[^().]*::[^()\s]*\(")  # a return type, then a name with its namespaces
_END = re.compile(r">?(?: const)?(?: \[with [^\]]*\])? ")  # of a signature, behind its arguments
_NODE = re.compile(r"Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ?")
# OpenVINO's messages contain the source line of each layer that passed the exception on.
_OPENVINO = re.compile(
    r"Exception from \S+:\d+: ?|Check '.*?' failed at \S+:\d+: ?|FrontEnd API failed with \w+: ?|"
    r"NotFound: ?(?=Unsupported property)"
)
_CONDITION = re.compile(r"(?<!\S)[^\s.:'\"][^.:'\"]* was false\. (?=\S)")


def describe(error: Exception) -> str:
    """Return the message of an error in one line."""
    text = _shortened(" ".join(str(error).split()), _MAX_READ) or type(error).__name__
    if _PREFIX.match(text):
        text = _LOAD.sub("", _PREFIX.sub("", text))
        while (place := _PLACE.search(text)) is not None:
            text = text[: place.start()] + _without_signature(text[place.end() :])
        text = _NODE.sub(lambda node: f"{node[1]} node{f' {node[2]}' if node[2] else ''}: ", text)
        text = _CONDITION.sub("", text).strip() or type(error).__name__
    elif _OPENVINO.match(text):
        text = _OPENVINO.sub("", text).strip() or type(error).__name__
    return _shortened(text, _MAX_CHARACTERS)


def _shortened(text: str, length: int) -> str:
    """Return the first and the last half of `length` characters of a longer text."""
    return text if len(text) <= length else f"{text[: length // 2]} … {text[-length // 2 :]}"


def _without_signature(text: str) -> str:
    """Return the text after the function's signature, or after its name alone, with which `text` begins."""
    if not _SIGNATURE.match(text):
        return text.partition(" ")[2] or text
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and character == ")" and (end := _END.match(text, position + 1)) is not None:
            return text[end.end() :]
    return text


_CUSTOM = "it needs an operator that onnxruntime does not have: export the model with standard operators"
_INSIDE = "onnx.save(onnx.load(PATH), PATH, save_as_external_data=True, size_threshold=1024)"
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"max supported IR version: (\d+)",
        r"install a newer onnxruntime, or save the file for this one: model.ir_version = \1",
    ),
    (
        r"official support for domain ai\.onnx is till opset (\d+)",
        r"install a newer onnxruntime, or export with opset_version=\1",
    ),
    (r"Cannot parse data from external tensors", f"save the file with its short tensors inside: {_INSIDE}"),
    (r"is not a registered function/op|No Op registered for|No opset import for domain", _CUSTOM),
    (
        r"Could not find an implementation for",
        "this onnxruntime has no kernel for it here: convert that part of the model to float32",
    ),
)


def remedy(reason: str) -> str | None:
    """Return the remedy for a `reason` returned by `describe`; None if there is none."""
    for pattern, advice in _REMEDIES:
        if (match := re.search(pattern, reason)) is not None:
            return match.expand(advice)
    return None
