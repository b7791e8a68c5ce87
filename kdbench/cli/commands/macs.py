"""`kdbench macs`: multiply-accumulates of a model by name or of an ONNX file."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench import units
from kdbench.cli import console
from kdbench.cli.options import Json, Texts, assignments, counted, one_of, option
from kdbench.errors import InputError
from kdbench.user_input.options import Option, shape

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kdbench.macs import MacsReport


class Convention(StrEnum):
    """The convention to count by: ours, or another tool's."""

    CANONICAL = "canonical"
    FVCORE = "fvcore"
    THOP = "thop"
    PTFLOPS = "ptflops"


def _conventions(incomplete: str) -> list[str]:
    return [convention.value for convention in Convention if convention.startswith(incomplete)]


_INPUT = Option("input", "Input shape", "CxHxW", shape, example="3x32x32, or 1x28x28 for MNIST")
DEFAULT_SHAPE = (3, 32, 32)
DEFAULT_CLASSES = 10


def macs(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model's name (see kdbench list models) or an .onnx file.")
    ],
    input_shape: Annotated[
        str | None, option("--input", "CxHxW", "Input shape (default: 3x32x32, or the shape an .onnx file declares).")
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=counted("--classes", 10_000_000),
            help=f"Number of classes (default: {DEFAULT_CLASSES}; not for .onnx files).",
        ),
    ] = None,
    convention: Annotated[
        Convention,
        typer.Option(
            metavar=f"[{'|'.join(Convention)}]",
            parser=one_of(Convention, "--convention"),
            autocompletion=_conventions,
            help="Convention to count by.",
        ),
    ] = Convention.CANONICAL,
    options: Annotated[Texts, option("--option", "KEY=VALUE", "Option of the model; repeatable.")] = None,
    by_layer: Annotated[bool, typer.Option("--by-layer", help="Also show every layer and its share.")] = False,
    json: Json = False,
) -> None:
    """Count a model's multiply-accumulates for one sample.

    The canonical convention counts convolutions, linear layers and matrix products only.

    Example: kdbench macs vgg11_bn --classes 100 --input 3x32x32 --json
    """
    image_shape = _INPUT.read(input_shape, "--input") if input_shape else None
    model_options = assignments(options or [], "--option")
    if model.lower().endswith((".onnx", ".ort")) or Path(model).is_file():
        for name, present in (("--classes", classes is not None), ("--option", bool(model_options))):
            if present:
                message = f"{name} applies only to models by name: an .onnx file is counted as it is"
                raise InputError(message, f"leave {name} out, or name the model instead of the file")
        result = _of_file(Path(model), image_shape, convention)
    else:
        result = _of_network(model, image_shape or DEFAULT_SHAPE, classes or DEFAULT_CLASSES, convention, model_options)
    if json:
        console.result_json(result if by_layer else {key: value for key, value in result.items() if key != "by_layer"})
    else:
        console.result(_as_text(result))
        if by_layer:
            console.result_drawn(_as_table(result))


def _of_network(
    name: str, shape: tuple[int, ...], classes: int, convention: Convention, model_options: dict[str, Any]
) -> dict[str, Any]:
    from kdbench.macs.torch_counter import count_module
    from kdbench.models import build

    network = build(name, shape, classes, **model_options)
    counted = count_module(network, shape, convention.value)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return _result(counted, model=name, shape=shape, parameters=parameters)


def _of_file(path: Path, shape: tuple[int, ...] | None, convention: Convention) -> dict[str, Any]:
    if convention is not Convention.CANONICAL:
        message = f"an .onnx file has no {convention} count: that convention is defined on torch modules"
        raise InputError(message, "leave --convention out, or name the model instead of the file")
    from kdbench.macs.onnx_counter import count_onnx
    from kdbench.modelfile.facts import data_inputs
    from kdbench.modelfile.graphs.outputs import declared_shape
    from kdbench.modelfile.graphs.weights import weights_of
    from kdbench.modelfile.reading import read_model

    model = read_model(path)
    parameters = weights_of(model, path).parameters
    counted = count_onnx(path, shape)
    _, *declared = declared_shape(data_inputs(model)[0])
    return _result(counted, model=str(path), shape=shape or tuple(declared), parameters=parameters)


def _result(counted: "MacsReport", *, model: str, shape: tuple[int | None, ...], parameters: int) -> dict[str, Any]:
    layers = [
        {"layer": layer, "operator": operator, "macs": macs, "share": macs / counted.macs}
        for layer, operator, macs in counted.by_layer
    ]
    return {
        "model": model,
        "macs": counted.macs,
        "convention": counted.convention,
        "input": list(shape),
        "parameters": parameters,
        "uncounted": list(counted.uncounted),
        "by_layer": layers,
    }


def _as_text(result: dict[str, Any]) -> str:
    sizes = "×".join("?" if size is None else str(size) for size in result["input"])
    lines = [
        f"{result['model']} on {sizes}",
        f"  MACs ({result['convention']}): {result['macs']:,} ({units.count(result['macs'])})",
        f"  parameters: {result['parameters']:,}",
    ]
    if result["uncounted"]:
        lines.append(f"  a lower bound, without {', '.join(result['uncounted'])}")
    return "\n".join(lines)


def _as_table(result: dict[str, Any]) -> "RenderableType":
    """Return the layers in the model's order, with the share and the cumulative share of each."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in ("Layer", "Operator"):
        table.add_column(head, overflow="fold")
    for head in ("MACs", "Share", "Cumulative"):
        table.add_column(head, justify="right", no_wrap=True)
    reached = 0
    for layer in result["by_layer"]:
        reached += layer["macs"]
        numbers = (f"{layer['macs']:,}", units.share(layer["share"]), units.share(reached / result["macs"]))
        table.add_row(Text(layer["layer"] or "(the model itself)"), Text(layer["operator"]), *numbers)
    return table
