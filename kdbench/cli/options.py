"""Options that several commands share, and the generation of the options of measuring commands."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.user_input.options import INPUTS, MEASURE, Option, count, names

if TYPE_CHECKING:
    from kdbench.recipe import InputOptions, Measure
    from kdbench.user_input.validation import Value

    V = TypeVar("V", bound=Value)


def option(name: str, metavar: str, text: str) -> Any:
    """Declare an option `--name METAVAR` with its help text."""
    return typer.Option(name, metavar=metavar, help=text)


def stored_run(path: Path) -> Path:
    """Return the path of a run; raises InputError for a file of another kind, such as a model or an image."""
    from kdbench.modelfile.formats.not_records import require_no_other_kind

    return require_no_other_kind(path)


RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's folder, or its record.json.", callback=stored_run)
]
Texts = list[str] | None
Out = Annotated[Path | None, option("--out", "DIR", "Folder to write to (default: below runs/).")]
Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON to standard output.")]
QuietProgress = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Log = Annotated[
    Texts, option("--log", "TRACKER,…", "Log the results to mlflow, tensorboard or wandb (kdbench list trackers).")
]
Title = Annotated[bool, typer.Option("--title", help="Show the remaining time in the terminal's title.")]
EstimateEnergy = Annotated[bool, typer.Option("--estimate-energy", help=MEASURE["estimate_energy"].description)]

E = TypeVar("E", bound=StrEnum)
_NEEDED_MODE = {"gap_ms": "paced", "rate_per_s": "server"}


def measuring(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of a measurement in place of its parameters `inputs` and `measure`.

    The command gets an InputOptions and a Measure in which only the options that were typed are set. One without
    `measure` uses data for something else: it has no option to leave accuracy out.
    """
    measures = "measure" in inspect.signature(command).parameters
    input_fields = {field: option for field, option in INPUTS.items() if measures or field != "accuracy"}
    tables = {"inputs": input_fields, "measure": MEASURE}
    generated: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        table = tables.get(parameter.name)
        options = [parameter] if table is None else [_parameter(field, option) for field, option in table.items()]
        generated += [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]

    @functools.wraps(command)
    def measuring_command(**values: Any) -> int:
        from kdbench.recipe import InputOptions, Measure

        help_ = f"see {values['ctx'].command_path} --help"
        inputs = _read(InputOptions, input_fields, {field: values.pop(field) for field in input_fields}, help_)
        if not measures:
            return command(inputs=inputs, **values)
        measure = _read(Measure, MEASURE, {field: values.pop(field) for field in MEASURE}, help_)
        for field, mode in _NEEDED_MODE.items():
            if field in measure.model_fields_set and mode not in measure.mode:
                option = f"--{MEASURE[field].name}"
                raise InputError(f"{option} applies only to mode {mode}", f"add --mode {mode}, or leave {option} out")
        return command(inputs=inputs, measure=measure, **values)

    measuring_command.__signature__ = inspect.Signature(generated)  # type: ignore[attr-defined]
    measuring_command.__annotations__ = {option.name: option.annotation for option in generated}
    return measuring_command


def typed_options(inputs: "InputOptions", measure: "Measure") -> list[str]:
    """Return the options of a measurement that were typed, such as `--budget`."""
    model_options = (spec.model_fields_set for spec in inputs.models.values())
    sets = ((INPUTS, inputs.model_fields_set.union(*model_options)), (MEASURE, measure.model_fields_set))
    return [f"--{option.name}" for table, fields in sets for field, option in table.items() if field in fields]


def typed_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the words of a command line that concern the inputs, such as `--data mnist`, as they were typed."""
    flags = {f"--{option.name}" for option in INPUTS.values() if option.flag is not None}
    valued = {f"--{option.name}" for option in INPUTS.values() if option.flag is None}
    words = iter(arguments)
    kept: list[str] = []
    for word in words:
        if word in flags or word.partition("=")[0] in valued:
            kept.append(word)
            kept += [next(words)] if word in valued else []
    return kept


def _parameter(field: str, option: Option) -> inspect.Parameter:
    text = f"--{option.name}"
    annotation: Any = Annotated[bool, typer.Option(text, help=option.description)]
    if option.per_model:
        panel, metavar = "Inputs, of all models or of one (MODEL=VALUE)", f"[MODEL=]{option.metavar}"
        kind = typer.Option(text, metavar=metavar, help=option.description, rich_help_panel=panel)
        annotation = Annotated[list[str] | None, kind]
    elif option.flag is None:
        annotation = Annotated[str | None, typer.Option(text, metavar=option.metavar, help=option.description)]
    default = None if option.flag is None else False
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _read(kind: "type[V]", table: Mapping[str, Option], typed: Mapping[str, Any], hint: str) -> "V":
    """Return the options that were typed as a value; raises InputError, with `hint`, for an impossible one."""
    from pydantic import ValidationError

    from kdbench.user_input.validation import problem

    values: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}
    for field, option in table.items():
        if typed[field] in (None, False):
            continue
        texts = typed[field] if option.per_model else [typed[field]]
        for text in texts:
            model, separator, value = text.rpartition("=") if option.per_model else ("", "", text)
            target = models.setdefault(model, {}) if separator else values
            if field in target:
                raise InputError(f"--{option.name} is given twice", "give it once for each model: MODEL=VALUE")
            target[field] = option.read(value, f"--{option.name}") if option.flag is None else option.flag
    try:
        return kind.model_validate({**values, **({"models": models} if models else {})})
    except ValidationError as error:
        wrong = problem(error, place=lambda key: f"--{table[_field(key)].name}")
        message = wrong.message
        for field, option in table.items():
            message = message.replace(field, f"--{option.name}") if field != option.name else message
        raise InputError(message, wrong.hint or hint) from None


def _field(key: str) -> str:
    """Return the field that a dotted key such as `mean.0` or `models.student.mean.0` is about."""
    parts = key.split(".")
    return parts[2] if parts[0] == "models" else parts[0]


def one_of(kind: type[E], name: str) -> Callable[[str], E]:
    """Return a parser for one of an enumeration's values; its InputError, about `name`, has the nearest known one."""

    def read(text: str) -> E:
        try:
            return kind(text)
        except ValueError:
            known = [str(value) for value in kind]
            raise InputError(f"{name}: unknown {text!r}", suggestion(text, known)) from None

    return read


def counted(name: str, most: int) -> Callable[[str], int]:
    """Return a parser for a count from 1 to `most`; its InputError is about `name`."""

    def read(text: str) -> int:
        try:
            if (value := count(text)) <= most:
                return value
        except ValueError:
            pass
        raise InputError(f"{name}: {text!r} is not a count from 1 to {most:,}", f"for example {name} 3")

    return read


def several_names(option: str, texts: Sequence[str] | None) -> list[str]:
    """Return the names of an option that may be repeated, and that may hold several separated by commas.

    Raises InputError for a text without a name, such as that of a variable that is not set.
    """
    if not all(map(names, texts or ())):
        raise InputError(f"{option} names nothing", f"give it a name, or leave {option} out")
    return [name for text in texts or () for name in names(text)]


def recipe_names(incomplete: str) -> list[str]:
    """Return the shipped recipes whose names begin with `incomplete`, for shell completion."""
    from kdbench.recipe.loading import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def output_file(file: Path | None, option: str) -> Path | None:
    """Return the path of a file that a command will write, and make its folder before the work starts.

    Shells leave the `~` of `--option=~/file` to the command. Raises InputError for a path that is a folder,
    StorageError for a folder that cannot be made or written to.
    """
    from kdbench.files import storage

    if file is None:
        return None
    file = storage.with_home(file)
    if file.is_dir():
        raise InputError(f"{option}: {str(file)!r} is a folder, not a file", "name the file in it")
    if not storage.is_stream(file):
        with storage.advising(f"with {option}"):
            storage.make_folder(file.parent)
    return file


def assignments(texts: Sequence[str], option: str, example: str = "width=0.5") -> dict[str, Any]:
    """Read `key=value` pairs; values are TOML, or else plain text."""
    from kdbench.user_input import toml_files

    return dict(toml_files.assignment(text, f"{option}: {text!r}", f"{option} {example}") for text in texts)
