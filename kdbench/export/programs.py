"""Exported programs (.pt2) of unknown origin, read without running code that they contain.

`torch.export.load` unpickles some parts, evaluates sizes given as text, and accepts any attribute of torch as an
operator. So kdbench checks the parts of the archive first, and passes on only those that it has checked.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from kdbench.errors import InputError, first_line
from kdbench.files import archives
from kdbench.machine.loading import require_loadable
from kdbench.modelfile.reading import require_model_file

_EXPORT_AGAIN = (
    "load it where you trust it and export it to ONNX: torch.onnx.export(program, f='model.onnx', dynamo=True)"
)
_CUT = "the file may be truncated: copy or save it again"
_SYMBOL = re.compile(r"Symbol\('[a-z]+\d+'(, [a-z_]+=(True|False))*\)")
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|torchvision|quantized_decomposed)\.\w+(\.\w+)?"
    r"|torch\.sym_(int|float|max|min|not|sqrt|sum)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pos|pow|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(ceil|floor|trunc|sqrt)"
)
_MAX_SIZE, _MAX_POWERS = 10_000, 2  # characters and powers of a size; sympy would compute 9**9**9**9
_POWER = re.compile(
    r"\*\*\s*-?\d{1,2}(?!\w|\.|\s*\*\*)|\bPow\((?:[^(),]|\([^()]*\))*,\s*(?:Integer\()?-?\d{1,2}\)"  # of a small number
)
_FUNCTIONS = {
    *("s", "True", "False", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "Abs"),
    *("FloorDiv", "CleanDiv", "CeilDiv", "PythonMod", "ModularIndexing", "Where", "TruncToInt", "RoundToInt"),
    *("FloorToInt", "CeilToInt", "ToFloat", "IntTrueDiv", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not"),
    *("Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "oo", "int_oo"),
}


def load_program(path: Path) -> ExportedProgram:
    """Return the exported program in the .pt2 file at `path`.

    Raises InputError for any other file, and for a program that could run more than tensor operators while it loads.
    """
    parts = _parts(path)
    try:
        description = json.loads(parts["models/model.json"])
        faults = list(_unsafe_content(description, parts))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a readable exported program: {error}", _CUT) from error
    for fault in faults:
        message = f"{path}: {fault}, which torch would run or unpickle while loading it"
        raise InputError(f"{message}; kdbench does not do that with files", _EXPORT_AGAIN)
    description["guards_code"] = []  # conditions on the input as Python code
    parts["models/model.json"] = json.dumps(description).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as checked:
        for name, content in parts.items():
            checked.writestr(f"model/{name}", content)
    archive.seek(0)
    try:
        return torch.export.load(archive)
    except Exception as error:  # torch raises errors of many types for a program of another version
        reason = first_line(error)
        message = f"{path} cannot be loaded by torch {torch.__version__}: {reason}"
        raise InputError(message, "export it again with this version of torch, or to ONNX") from error


def _parts(path: Path) -> dict[str, bytes]:
    """Return the content of each part of the archive, by its name without the top folder."""
    require_model_file(path)
    try:
        require_loadable(path, "use a machine with more memory")
        with zipfile.ZipFile(path) as archive:
            parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    except archives.archive_errors() as error:
        raise InputError(f"{path} is not a readable exported program: {error}", _CUT) from error
    if "constants.pkl" in parts:
        hint = "give its network and weights: --torch pkg.module:factory --weights weights.pth"
        raise InputError(f"{path} is a TorchScript archive, not an exported program", hint)
    if any(name.startswith("data/aotinductor/") for name in parts):
        message = f"{path} holds compiled code (AOTInductor), not a program that can be exported"
        raise InputError(message, "save the program itself: torch.export.save(program, 'model.pt2')")
    if "models/model.json" not in parts:
        hint = "save it with a current torch: torch.export.save(torch.export.export(network, inputs), 'model.pt2')"
        raise InputError(f"{path} holds no exported program", hint)
    return parts


def _unsafe_content(description: Any, parts: Mapping[str, bytes]) -> Iterator[str]:
    """Yield a description of each part that torch would run or unpickle while it loads the program."""
    for key, value in _items(description):
        if key == "expr_str" and not _is_size(value):
            yield f"a size is written as {value!r}"
        elif key in {"target", "as_operator"} and isinstance(value, str) and not _OPERATORS.fullmatch(value):
            yield f"it calls {value!r}"
        elif isinstance(value, str) and ("default_factory" in value or "torch.fx.experimental" in value):
            yield "it describes its arguments by Python objects"
    for name, content in parts.items():
        if name.endswith("_config.json") and not all(_is_plain(*item) for item in _items(json.loads(content))):
            yield f"{name} lists pickled objects"
        if name.endswith(".pt"):
            try:
                torch.load(io.BytesIO(content), weights_only=True)
            except Exception:  # noqa: BLE001 - torch raises errors of many types for a damaged pickle
                yield f"{name} holds pickled objects"


def _is_plain(key: str, value: Any) -> bool:
    """Return whether an entry of a list of tensors is compatible with tensors stored as plain bytes."""
    if key == "path_name":
        return re.fullmatch(r"(weight|tensor)_\d+", str(value)) is not None
    return key != "use_pickle" or not value


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each key and value of nested objects; the items of a list have the list's key."""
    stack = [("", value)]
    while stack:
        key, value = stack.pop()
        yield key, value
        if isinstance(value, dict):
            stack += value.items()
        elif isinstance(value, list):
            stack += [(key, item) for item in value]


def _is_size(text: Any) -> bool:
    """Return whether a text is an expression of numbers and symbols that sympy can evaluate safely and quickly."""
    plain = _SYMBOL.sub("s", str(text))
    words = re.findall(r"[A-Za-z_]\w*", plain)
    symbols = re.compile(r"[a-z]+\d+")
    powers = re.findall(r"\*\*|\bPow\b", plain)
    return (
        len(plain) <= _MAX_SIZE
        and len(powers) <= _MAX_POWERS
        and len(powers) == len(_POWER.findall(plain))
        and re.fullmatch(r"[\w +\-*/(),=<>.]*", plain) is not None
        and all(word in _FUNCTIONS or symbols.fullmatch(word) or word == "evaluate" for word in words)
        and not re.search(r"[A-Za-z_)]\s*\.|\.\s*[A-Za-z_]", plain)
    )
