"""The text of a new recipe: one teacher, a student alone and distilled, with comments about what to change."""

from dataclasses import dataclass
from pathlib import Path

import tomli_w

from kdbench.errors import InputError
from kdbench.recipe.tables.models import ONNX, is_onnx

_WEIGHTS = {".safetensors", ".pth", ".pt", ".bin", ".ckpt"}
_OTHER_FILES = {".pt2", ".ort", ".tflite"}


@dataclass(frozen=True)
class Network:
    """A model by name or import path, and a file of weights; an ONNX file is a whole model, without a name."""

    model: str | None
    weights: str | None = None


@dataclass(frozen=True)
class DataSet:
    """A data set by name, and the side of the squares that images of different sizes become."""

    name: str
    square_pixels: int | None = None


@dataclass(frozen=True)
class Draft:
    """The content of a new recipe. Paths are relative to its file."""

    name: str
    data: DataSet
    teacher: Network
    student: Network
    method: str
    epochs: int


def network_of(text: str, subject: str) -> Network:
    """Read `MODEL`, `MODEL=WEIGHTS` or an `.onnx` file; raises InputError, which calls the text `subject`.

    >>> network_of("resnet20=small.safetensors", "--student")
    Network(model='resnet20', weights='small.safetensors')
    """
    if is_onnx(text):
        if "=" in text and not Path(text).exists():
            hint = f"name the file alone: {text.partition('=')[2]}"
            raise InputError(f"{subject}: an {ONNX} file holds the whole network", hint)
        return Network(None, text)
    model, separator, weights = text.partition("=")
    if Path(model).suffix in _WEIGHTS and not separator:
        message = f"{subject}: {text} holds weights without their network"
        raise InputError(message, f"write MODEL={text}, such as resnet20={text} or mine:Small={text}")
    if Path(text).suffix in _OTHER_FILES:
        message = f"{subject}: a recipe cannot use a {Path(text).suffix} file"
        raise InputError(message, f"give its {ONNX} file, or MODEL=WEIGHTS")
    if not model or (separator and not weights):
        raise InputError(f"{subject}: {text!r} is not a model", "write MODEL, MODEL=WEIGHTS or an .onnx file")
    return Network(model, weights or None)


def draft_text(draft: Draft) -> str:
    """Return a recipe as commented TOML."""
    teacher, student = draft.teacher, draft.student
    trained = "its weights are read from the file" if teacher.weights else "is trained on the labels first"
    return f"""\
# A student that learns from the teacher's outputs, compared with the same student without a teacher.
# Every key: docs/recipes.md. Change any on the command line: kdbench run FILE --set training.epochs=5

name = {_toml(draft.name)}

[data]
{_data(draft.data)}
validation = 0.1              # share of the training part that selects the best epoch; the test part is used at the end
# download = true             # download a published set if it is missing
# augment = "crop_flip"       # for images: none, flip, crop_flip, mixup, cutmix, mixup_cutmix

[training]                    # for every model below; a model's own `training` table overrides it key by key
epochs = {draft.epochs}
batch = 64
optimizer = {{ name = "adamw", lr = 1e-3, weight_decay = 1e-2 }}
schedule = {{ name = "cosine" }}
# seeds: `seeds = [0, 1, 2]`, above [data], trains every model three times and reports means

[measure]
budget_s = 20                 # maximum time for latency, for all models together
# threads = [1, 4]

[[teacher]]                   # {trained}
name = "teacher"
{_network(teacher)}

[[student]]                   # learns from the labels only, for comparison
name = "alone"
{_network(student)}

[[student]]                   # also learns from the teacher
name = "distilled"
{_network(student)}
terms = [{{ method = {_toml(draft.method)} }}]   # add its options after `method`, such as temperature = 4
# ce_weight = 0.1             # weight of the labels (default: the method's usual weight)
"""


def _data(data: DataSet) -> str:
    lines = [f"name = {_toml(data.name)}"]
    if data.square_pixels is not None:
        lines.append(f"{f'resize = {data.square_pixels}':<30}# pixels of the shorter side: the images differ in size")
        lines.append(f"{f'crop = {data.square_pixels}':<30}# pixels of the square in the middle")
    return "\n".join(lines)


def _network(network: Network) -> str:
    lines = [] if network.model is None else [f"model = {_toml(network.model)}"]
    lines += [] if network.weights is None else [f"weights = {_toml(network.weights)}"]
    return "\n".join(lines)


def _toml(text: str) -> str:
    return tomli_w.dumps({"key": text}).partition(" = ")[2].rstrip("\n")
