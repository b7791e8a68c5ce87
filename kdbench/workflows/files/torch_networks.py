"""Export the user's torch networks to ONNX and check the files: from import paths and weights, or .pt2 files."""

import glob
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import InputError, KdbenchError, first_line
from kdbench.files import storage
from kdbench.measure.bench_model import BenchModel
from kdbench.modelfile.facts import ModelFacts, read_facts
from kdbench.modelfile.graphs.outputs import Output
from kdbench.recipe import InputOptions
from kdbench.registry import suggestion
from kdbench.results.preprocessing import InputSpec, merged
from kdbench.results.records import Diagnostic
from kdbench.results.run_folder import RunFolder, card_path
from kdbench.workflows.files.images import TestImages
from kdbench.workflows.files.model_files import specs_of
from kdbench.workflows.files.network_inputs import PARITY_SAMPLES, SEED, layouts_of, samples_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kdbench.export.onnx import Parity

_FREE_BATCH = "replace fixed batches in its forward, such as view(1, …), by x.flatten(1)"
_LEVELS = 256  # of pixels
PROGRAM = ".pt2"


@dataclass(frozen=True)
class TorchNetwork:
    """A network to export: the import path of its `factory` with a file of `weights`, or a .pt2 `program`."""

    id: str
    factory: str = ""
    weights: Path | None = None
    program: Path | None = None

    @property
    def described_by(self) -> Path:
        """The file beside which other files describe the network's inputs."""
        return self.program or self.weights or Path(self.id)


def initial_weights_diagnostics(networks: Sequence[TorchNetwork]) -> tuple[Diagnostic, ...]:
    """Return a diagnostic for each network that has the weights with which its factory made it."""
    return tuple(
        Diagnostic(
            code="weights",
            message=f"{network.id} has the initial weights of {network.factory}: no file of weights was named",
            remedy="if that does not load trained weights, name them: --weights FILE",
            model=network.id,
        )
        for network in networks
        if network.factory and network.weights is None
    )


def torch_networks(factories: Sequence[str], weights: Sequence[str]) -> list[TorchNetwork]:
    """Return the networks of `--torch [ID=]pkg.module:factory` and `--weights [ID=]FILE`.

    Weights without an id belong, in order, to the networks that have none yet. An id is by default the factory's name,
    with that of the weights if several networks have one factory. Raises InputError if the two lists do not match.
    """
    pairs = [(text.partition("=")[0], text.partition("=")[2]) if "=" in text else ("", text) for text in factories]
    ids = [id_ or path.rpartition(":")[2].rpartition(".")[2] for id_, path in pairs]
    named: dict[str, Path] = {}
    in_order: list[Path] = []
    for text in weights:
        id_, separator, file = text.partition("=")
        if not separator or id_ not in ids:
            in_order.append(Path(text))
        elif id_ in named or ids.count(id_) > 1:
            raise InputError(
                f"the weights {text}: {id_} is not one network", "name networks: --torch ID=pkg.module:factory"
            )
        else:
            named[id_] = Path(file)
    without = sum(id_ not in named for id_ in ids)
    if in_order and len(in_order) != without:
        message = f"the number of files of weights is {len(in_order)}, and {without} networks need one"
        hint = suggestion(str(in_order[-1]).partition("=")[0], ids, "name the network of each: --weights ID=FILE")
        raise InputError(message, hint if factories else "give the network too: --torch pkg.module:factory")
    files = iter(in_order)
    networks = [
        TorchNetwork(id_, path, named[id_] if id_ in named else next(files, None))
        for id_, (_, path) in zip(ids, pairs, strict=True)
    ]
    return [
        replace(network, id=f"{network.id}-{network.weights.stem}")
        if ids.count(network.id) > 1 and network.weights
        else network
        for network in networks
    ]


def export_networks(
    networks: Sequence[TorchNetwork], inputs: InputOptions, images: TestImages | None, folder: Path
) -> Iterator[Path]:
    """Yield the ONNX file of each network, written to `folder` and checked against the network.

    Raises InputError for a network that cannot be built, loaded or called on these images, KdbenchError for one that
    cannot be exported, or whose file returns other outputs.
    """
    from kdbench.export.onnx import ExportError

    if images is not None:
        images.check()  # every export takes seconds
    for network in networks:
        path = folder / f"{network.id}.onnx"
        try:
            with errors_by_id(network, path):
                parity = (
                    _export_program(network.program, path)
                    if network.program
                    else _export(network, inputs, images, path)
                )
        except ExportError as error:
            raise ExportError(f"{network.id}: {error.message}", error.hint) from error
        if not parity.holds:
            reason = "its logits are NaN or infinite"
            if parity.is_finite:
                difference = f"{parity.difference:.3g} (tolerance {parity.tolerance:.3g})"
                reason = f"its ONNX file differs from the network by {difference}"
            hint = "export it yourself, and find where the outputs differ"
            raise KdbenchError(f"{network.id} is not measured: {reason}", hint)
        yield path


@contextmanager
def errors_by_id(network: TorchNetwork | None, path: Path) -> Iterator[None]:
    """Replace the path of an exported file in errors by the id of its network, which the user knows."""
    try:
        yield
    except InputError as error:
        if network is None:
            raise
        raise type(error)(error.message.replace(str(path), network.id), error.hint) from error


def moved_to_run(model: BenchModel, network: TorchNetwork, folder: RunFolder) -> BenchModel:
    """Move an exported file into the run's folder; return the model there, with its card."""
    path = folder.model(model.id)
    storage.make_folder(path.parent)
    for file in model.path.parent.glob(f"{glob.escape(model.path.name)}*"):  # large weights lie in a second file
        shutil.move(file, path.parent / file.name)
    card = model.card.model_copy(
        update={
            "file": str(path.relative_to(folder.path)),
            "architecture": network.factory or None,
            "weights": network.weights.name if network.weights else None,
        }
    )
    card.write(card_path(path))
    return replace(model, path=path, card=card)


def _export_program(program: Path, path: Path) -> "Parity":
    import torch

    from kdbench.export.onnx import check_parity, export_program
    from kdbench.export.programs import load_program

    exported = load_program(program)
    module = exported.module(check_guards=False)
    inputs = [value for value in exported.example_inputs[0] if isinstance(value, torch.Tensor)]
    if len(inputs) != 1 or inputs[0].dim() < 2:
        raise InputError(f"{program} takes {len(inputs)} tensors", "kdbench measures models of one input")
    example = inputs[0]
    output, failure = _call(module, example)
    if failure is not None:
        raise InputError(f"{program} fails on its own example: {failure}", "export it again, and call it once")
    export_program(exported, path, _names_of(output))
    facts = read_facts(path)
    generator = torch.Generator().manual_seed(SEED)
    batch = facts.fixed_batch or 16
    values = torch.rand((batch * math.ceil(PARITY_SAMPLES / batch), *example.shape[1:]), generator=generator)
    levels = facts.vocabulary or _LEVELS
    noise = values.to(example.dtype) if example.is_floating_point() else (values * (levels - 1)).to(example.dtype)
    return check_parity(_wrapped(module, lambda output: output), path, noise, batch=batch)


def _names_of(output: Any) -> list[str] | None:
    """Return the names for what a program returns: the keys of a dictionary; None for several tensors without names."""
    from kdbench.export.onnx import INPUT, OUTPUT, output_tensors

    tensors = output_tensors(output)
    if len(tensors) == 1:
        return [OUTPUT]
    named = isinstance(output, dict) and len(output) == len(tensors) and INPUT not in output
    return [*output] if named and all(isinstance(key, str) for key in output) else None


def _export(network: TorchNetwork, inputs: InputOptions, images: TestImages | None, path: Path) -> "Parity":
    from kdbench.export.factories import network_from
    from kdbench.export.onnx import check_parity, export_onnx
    from kdbench.export.state_dicts import load_weights

    module = network_from(network.factory)
    if network.weights is not None:
        load_weights(module, network.weights)
    model_spec = inputs.models.get(network.id, InputSpec())
    spec, _ = merged(specs_of(network.described_by, unknown_facts(), None, model_spec, inputs))
    samples = samples_of(network.id, module, spec, images)
    logits = _logits(module)
    failures = []
    for candidate in layouts_of(samples, spec):
        output, failure = _call(logits, candidate[:2])
        if failure is not None:
            failures.append(f"{_shape(candidate)}: {failure}")
            continue
        _require_logits(output, network)
        if _call(logits, candidate[:3])[1] is not None:
            raise InputError(f"{network.id} takes only batches of one size", _FREE_BATCH)
        export_onnx(logits, tuple(candidate.shape[1:]), path, candidate.dtype)
        return check_parity(logits, path, candidate)
    if any(_call(logits, candidate[:1])[1] is None for candidate in layouts_of(samples, spec)):
        raise InputError(f"{network.id} takes one image at a time and fails on two", _FREE_BATCH)
    hint = f"if the size of the images is wrong: --size, --resize, --crop or --colour {network.id}=…"
    raise InputError(f"{network.id} fails on inputs of {'; of '.join(failures)}", hint)


def _call(network: "nn.Module", images: "torch.Tensor") -> tuple[Any, str | None]:
    """Return a network's output and None, or None and the error of a network that fails."""
    import torch

    try:
        with torch.no_grad():
            return network(images), None
    except Exception as error:  # noqa: BLE001 - user code
        return None, first_line(error)


def _logits(network: "nn.Module") -> "nn.Module":
    """Return a module that returns only the logits, also of a network that returns a dict, as Hugging Face's do."""
    return _wrapped(
        network, lambda output: output["logits"] if isinstance(output, dict) and "logits" in output else output
    )


def _wrapped(network: "nn.Module", select: Callable[[Any], Any]) -> "nn.Module":
    """Return a module that returns what `select` takes of a network's output, and stays in the network's mode."""
    from torch import nn

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: "torch.Tensor") -> Any:
            return select(self.network(images))

        def train(self, mode: bool = True) -> "Wrapped":  # noqa: ARG002 - exported programs refuse to change it
            return self

    return Wrapped()


def _require_logits(output: Any, network: TorchNetwork) -> None:
    import torch

    hint = "write a function that wraps it and returns only the logits: (batch, classes)"
    if not isinstance(output, torch.Tensor):
        keys = f" with {', '.join(map(str, output))}" if isinstance(output, dict) else ""
        raise InputError(f"{network.id} returns a {type(output).__name__}{keys}, not logits", hint)
    if len(output) != 2 or math.prod(output.shape[1:]) != max(output.shape[1:], default=0):
        raise InputError(f"{network.id} returns {_shape(output, with_batch=True)} for 2 images, not (2, classes)", hint)


def unknown_facts() -> ModelFacts:
    """Return the facts of a file that does not exist yet."""
    nothing = Output("")
    return ModelFacts("", 0, 0, 0, None, "", "float32", (None,), "other", None, (nothing,), nothing)


def _shape(values: "torch.Tensor", *, with_batch: bool = False) -> str:
    return "x".join(map(str, values.shape if with_batch else values.shape[1:]))
