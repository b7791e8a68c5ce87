"""The runtimes by name: what each one runs, which libraries its numbers depend on, and the extra that installs it.

Values only, read by recipes, records and verdicts; `kdbench.worker.runtimes` has the code, one file a runtime.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kdbench.results.records import Axes

USUAL_RUNTIME = "onnxruntime"
"""The runtime of numbers whose axes name none; it is the reference for what a file computes."""


@dataclass(frozen=True)
class RuntimeKind:
    """A runtime: `libraries` are the distributions whose version changes its times, `extra` installs them.

    It runs the model's `file`, or the `network` that the file was exported from. A `form` is the suffix of the file
    that it takes instead of the .onnx file: the same model, converted. `program` is what runs the npm package
    onnxruntime-web.
    """

    name: str
    libraries: tuple[str, ...]
    runs: Literal["file", "network"] = "file"
    extra: str = ""
    form: str = ""
    program: Literal["", "chromium", "node"] = ""


RUNTIMES: dict[str, RuntimeKind] = {
    kind.name: kind
    for kind in (
        RuntimeKind(USUAL_RUNTIME, ("onnxruntime", "onnxruntime-gpu")),
        RuntimeKind("torch", ("torch",), "network", "train"),
        RuntimeKind("torch-compiled", ("torch",), "network", "train"),
        RuntimeKind("openvino", ("openvino",), extra="openvino"),
        RuntimeKind("litert", ("ai-edge-litert",), extra="litert", form=".tflite"),
        RuntimeKind("tflite-micro", ("tflite-micro",), extra="tflite-micro", form=".tflite"),
        RuntimeKind("onnxruntime-web", (), program="chromium"),
        RuntimeKind("onnxruntime-web-node", (), program="node"),
    )
}


def runtime_of(axes: Axes) -> str:
    """Return the name of the runtime that measured at `axes`."""
    return str(axes.get("runtime", USUAL_RUNTIME))


def libraries_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the distributions that the runtimes `names` depend on, each once; unknown names have none."""
    known = (RUNTIMES[name] for name in names if name in RUNTIMES)
    return tuple(dict.fromkeys(library for kind in known for library in kind.libraries))
