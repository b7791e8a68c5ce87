"""`kdbench compress`: smaller variants of a model file."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench import units
from kdbench.cli import console
from kdbench.cli.invocation import Invocation
from kdbench.cli.options import (
    Json,
    QuietProgress,
    Texts,
    Title,
    assignments,
    measuring,
    option,
    several_names,
    typed_arguments,
)
from kdbench.errors import InputError
from kdbench.user_input.options import CALIBRATION_COUNT

if TYPE_CHECKING:
    from kdbench.recipe import InputOptions
    from kdbench.workflows.compress import Variants


@measuring
def compress(
    ctx: typer.Context,
    inputs: "InputOptions",
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX file to compress.")],
    methods: Annotated[
        Texts, option("--method", "NAME,…", "Compression methods: see kdbench list compressors; repeatable.")
    ] = None,
    settings: Annotated[
        Texts, option("--set", "METHOD.KEY=VALUE", "A setting of a method, such as int8.calibrator=mse; repeatable.")
    ] = None,
    calibrator: Annotated[
        str | None,
        option("--calibrator", "NAME", "How ranges of activations are chosen: min-max, percentile, entropy or mse."),
    ] = None,
    count: Annotated[
        int, option("--calibration-count", "N", "Number of training images that ranges are calibrated on.")
    ] = CALIBRATION_COUNT,
    seed: Annotated[int, option("--calibration-seed", "N", "Seed of the choice of these images.")] = 0,
    name: Annotated[
        str | None, option("--name", "NAME", "Name of the files, as in NAME-METHOD.onnx (default: MODEL's name).")
    ] = None,
    out: Annotated[Path, option("--out", "DIR", "Folder to write the variants to.")] = Path("compressed"),
    quiet: QuietProgress = False,
    title: Title = False,
    json: Json = False,
) -> int:
    """Compress an ONNX model: a smaller file for each method, with a card that says how it was made.

    Ranges are calibrated on random images of the data's training part, never on test images. Finished files of an
    interrupted command are kept. The last line of the output is the command that measures the variants together with
    their source.

    Example: kdbench compress big.onnx --method int8 --data cifar10 --mean .485,.456,.406 --std .229,.224,.225 --out c
    """
    from kdbench.cli.progress import watching
    from kdbench.compress.calibration import CalibrationChoice
    from kdbench.user_input.validation import validated

    invocation = Invocation.of(ctx)
    invocation.after_interruption = "finished files are kept; run the same command again"
    chosen = validated(CalibrationChoice, {"count": count, "seed": seed})
    with watching(invocation, quiet=quiet, title=title) as progress:
        from kdbench.workflows.compress import compress_model

        variants = compress_model(
            model,
            _with_settings(several_names("--method", methods), settings, calibrator),
            out=out,
            name=name,
            inputs=inputs,
            calibration=chosen,
            progress=progress,
        )
    fed = [*typed_arguments(invocation.arguments), *(["--no-accuracy"] if inputs.data is None else [])]
    bench = shlex.join(["kdbench", "bench", str(model), *(str(made.path) for made in variants.made), *fed])
    if json:
        console.result_json(_result(variants, out, bench))
        return 0
    for diagnostic in variants.diagnostics:
        console.say(f"note: {diagnostic.message}; {diagnostic.remedy}")
    for made in variants.made:
        for warning in made.warnings:
            console.say(f"warning: {made.path.name}: {warning}")
    console.result("\n".join([*_lines(variants), f"measure them: {bench}"]))
    return 0


def _with_settings(methods: list[str], settings: list[str] | None, calibrator: str | None) -> dict[str, dict[str, Any]]:
    """Return the settings of each method; raises InputError for those of a method that is not used."""
    from kdbench.compress import COMPRESSORS

    chosen: dict[str, dict[str, Any]] = {method: {} for method in methods}
    for key, value in assignments(settings or (), "--set", "int8.calibrator=mse").items():
        method, separator, field = key.rpartition(".")
        if not separator or method not in chosen:
            message = f"--set {key}: {method or key!r} is not one of the methods"
            form = f"write METHOD.KEY=VALUE, for one of {', '.join(methods)}"
            raise InputError(message, form if methods else "name it with --method, too")
        chosen[method][field] = value
    if calibrator is not None:
        calibrated = [method for method in methods if "calibrator" in COMPRESSORS.get(method).model_fields]
        if not calibrated:
            raise InputError("--calibrator applies to none of the methods", "leave it out, or add --method int8")
        for method in calibrated:
            chosen[method].setdefault("calibrator", calibrator)
    return chosen


def _lines(variants: "Variants") -> list[str]:
    return [
        f"{made.path}  {units.size(made.size_bytes)}, {_describe_size_ratio(made.source_bytes / made.size_bytes)}"
        + (" (kept)" if made.kept else "")
        for made in variants.made
    ]


def _describe_size_ratio(ratio: float) -> str:
    """Write a ratio of source to variant: `3.48× smaller`, `1.10× larger`."""
    text = units.ratio(max(ratio, 1 / ratio))
    return "of the same size" if text == units.ratio(1.0) else f"{text} {'smaller' if ratio > 1 else 'larger'}"


def _result(variants: "Variants", out: Path, bench: str) -> dict[str, Any]:
    return {
        "source": str(variants.source),
        "folder": str(out),
        "variants": [
            {
                "id": made.card.id,
                "file": str(made.path),
                "kept": made.kept,
                "size_bytes": made.size_bytes,
                "source_bytes": made.source_bytes,
                "warnings": list(made.warnings),
                "card": made.card.to_json(),
            }
            for made in variants.made
        ],
        "bench": bench,
    }
