"""`kdbench init`: a commented recipe for the user's data and models."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench import extras
from kdbench.cli import console
from kdbench.cli.invocation import Invocation
from kdbench.cli.options import Json, counted, option
from kdbench.errors import DataMissingError, InputError

if TYPE_CHECKING:
    from kdbench.data.dataset import SampleForm
    from kdbench.recipe.drafts import DataSet

_MAX_EPOCHS = 1_000_000
_MAX_NAME = 60


@dataclass(frozen=True)
class _Question:
    """A question on a terminal, with an example of an answer; without an example, only the option can answer it."""

    text: str
    example: str
    required: bool = True


_QUESTIONS: Mapping[str, _Question] = {
    "data": _Question("data set: a name (kdbench list datasets), folder:PATH, npz:PATH or module:function", "digits"),
    "teacher": _Question(
        "teacher: a model (kdbench list models), module:factory, FILE.onnx or MODEL=WEIGHTS", "resnet20"
    ),
    "student": _Question("student: a model, module:factory or MODEL=WEIGHTS", "resnet8"),
    "method": _Question("how the student learns (kdbench list methods)", "kd", required=False),
    "epochs": _Question("epochs", "20", required=False),
}


def init(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recipe to write, such as mine.toml.")],
    data: Annotated[
        str | None, option("--data", "NAME", "The data set: a name, folder:PATH, npz:PATH or module:function.")
    ] = None,
    teacher: Annotated[
        str | None,
        option("--teacher", "MODEL", "The teacher: a name, module:factory, FILE.onnx or MODEL=FILE.safetensors."),
    ] = None,
    student: Annotated[
        str | None, option("--student", "MODEL", "The student: a name, module:factory or MODEL=FILE.safetensors.")
    ] = None,
    method: Annotated[
        str | None, option("--method", "NAME", "How the student learns: see kdbench list methods (default: kd).")
    ] = None,
    epochs: Annotated[str | None, option("--epochs", "N", "Epochs of every training (default: 20).")] = None,
    json: Json = False,
) -> None:
    """Write a commented recipe for your data and models.

    On a terminal, it asks for missing values. An existing FILE is never changed. With --json the result is {"recipe":
    …, "command": …}: the file, and the command that runs it.

    Example: kdbench init mine.toml --data digits --teacher resnet20 --student resnet8
    """
    from kdbench.files import storage
    from kdbench.recipe.drafts import draft_text
    from kdbench.recipe.loading import recipe_from
    from kdbench.user_input import toml_files

    Invocation.of(ctx).after_interruption = "no recipe was written; run the same command again"
    _require_new(file)
    typed = dict(zip(_QUESTIONS, (data, teacher, student, method, epochs), strict=True))
    text = draft_text(_drafted(file, _complete(file, typed)))
    recipe_from(toml_files.parse(text, str(file)), str(file))  # it refuses before anything is written
    with storage.advising("for the recipe"):
        storage.make_folder(file.parent)
        storage.write_text(file, text)
    command = shlex.join(["kdbench", "run", str(file)])
    if json:
        console.result_json({"recipe": str(file), "command": command})
        return
    console.result(f"recipe: {file}")
    console.result(f"next: {command}")


def _require_new(file: Path) -> None:
    if file.suffix != ".toml":
        raise InputError(
            f"{file} is not the name of a recipe file", f"name a .toml file, such as {file.name or 'mine'}.toml"
        )
    if os.path.lexists(file):
        raise InputError(f"{file} exists already", "name another file, or remove it first")


def _complete(file: Path, typed: Mapping[str, str | None]) -> dict[str, Any]:
    """Return every answer, checked; raises InputError if one is missing and there is no terminal."""
    checks = _checks(file)
    known = {key: checks[key](text, f"--{key}") for key, text in typed.items() if text is not None}
    open_ = [key for key in typed if key not in known]
    if open_ and sys.stdin.isatty() and sys.stderr.isatty():
        return known | {key: _prompt(_QUESTIONS[key], checks[key]) for key in open_}
    if missing := [f"--{key}" for key in open_ if _QUESTIONS[key].required]:
        answers = [(key, text or _QUESTIONS[key].example) for key, text in typed.items()]
        words = ["kdbench", "init", str(file), *(word for key, text in answers for word in (f"--{key}", text))]
        raise InputError(f"{', '.join(missing)}: missing, and there is no terminal to ask on", shlex.join(words))
    return known | {key: checks[key](_QUESTIONS[key].example, f"--{key}") for key in open_}


def _prompt(question: _Question, check: Callable[[str, str], Any]) -> Any:
    """Ask at the terminal until there is a valid answer, and return it."""
    while True:
        sys.stderr.write(f"{question.text} [{question.example}]: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            message = "the answers ended before the recipe was complete"
            raise InputError(message, "give them as options: see kdbench init --help")
        try:
            return check(line.strip() or question.example, "answer")
        except InputError as error:
            console.say(f"{error.message}" + (f"; {error.hint}" if error.hint else ""))


def _checks(file: Path) -> Mapping[str, Callable[[str, str], Any]]:
    """Return what reads each answer, given how to call it; user code is searched where the recipe will be."""
    from kdbench import plugins
    from kdbench.recipe.drafts import Network, network_of

    plugins.activate((), str(file.parent.absolute()))
    has_torch = not extras.missing("train")
    form: SampleForm | None = None

    def data(text: str, subject: str) -> "DataSet":
        nonlocal form
        named, form = _data_set(file, text, subject)
        return named

    def teacher(text: str, subject: str) -> Network:
        network = network_of(text, subject)
        if network.model is not None and has_torch:
            _require_network(network.model, form)
        weights = None if network.weights is None else _relative_to_recipe(file, network.weights, subject)
        return Network(network.model, weights)

    def student(text: str, subject: str) -> Network:
        network = teacher(text, subject)
        if network.model is None:
            message = f"{subject}: a student is trained, but an ONNX file cannot be trained"
            raise InputError(message, "name a model or module:factory, such as resnet8")
        return network

    def method(text: str, subject: str) -> str:  # noqa: ARG001 - the registry's message says what it is
        if has_torch:
            from kdbench.distill.methods import METHODS

            METHODS.get(text)
        return text

    def epochs(text: str, subject: str) -> int:
        return counted(subject, _MAX_EPOCHS)(text)

    return {"data": data, "teacher": teacher, "student": student, "method": method, "epochs": epochs}


def _data_set(file: Path, text: str, subject: str) -> tuple["DataSet", "SampleForm | None"]:
    """Return a data set as the recipe names it, and the form of its samples if they are there to look at."""
    from kdbench.data import DATASETS, sample_form
    from kdbench.recipe.drafts import DataSet

    DATASETS.get(text)
    prefix, colon, path = text.partition(":")
    if prefix not in {"npz", "folder"} and colon:
        return DataSet(text), None  # a user's function runs only when the recipe does
    if colon:
        named, form = f"{prefix}:{_relative_to_recipe(file, path, subject)}", sample_form(text)
        return DataSet(named, form.square_pixels), form
    try:
        return DataSet(text), sample_form(text)
    except DataMissingError:  # it can be downloaded later
        return DataSet(text), None


def _require_network(model: str, form: "SampleForm | None") -> None:
    """Raise InputError for an unknown network, and for one that does not fit samples of this form."""
    from kdbench.models import MODELS, build

    MODELS.get(model)
    if form is not None and ":" not in model:
        build(model, form.input_shape, form.outputs)


def _relative_to_recipe(file: Path, text: str, subject: str) -> str:
    """Return a path that the user typed as the recipe has it: relative to its file, unless it is absolute."""
    from kdbench.files.nearby import expected_at
    from kdbench.files.storage import followed, with_home

    path = with_home(text)
    if not text or not path.exists():
        hint = expected_at(path, "name an existing file or folder", lambda other: other.suffix == path.suffix)
        raise InputError(f"{subject}: there is no {text or 'path'}", hint)
    if path.is_absolute():
        return str(path)
    # The system follows links before it applies `..`.
    return os.path.relpath(followed(path.parent) / path.name, followed(file.parent))


def _drafted(file: Path, answers: Mapping[str, Any]) -> Any:
    from kdbench.recipe.drafts import Draft

    name = re.sub(r"[^a-z0-9_-]+", "-", file.stem.lower()).strip("-_")[:_MAX_NAME]
    return Draft(name=name or "recipe", **answers)
