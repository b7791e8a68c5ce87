"""Measure model files that kdbench did not train, without a recipe."""

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from kdbench import extras
from kdbench.errors import InputError
from kdbench.evaluate.predictions import Analyses
from kdbench.files import storage
from kdbench.files.claim import claimed
from kdbench.judge.target import Target, targets_of
from kdbench.machine import fingerprint
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.harness import check_config, measure
from kdbench.modelfile.reading import require_model_file
from kdbench.processes import temporary
from kdbench.progress import Progress, Silent
from kdbench.recipe import InputOptions, Measure
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard, teacher_behind
from kdbench.results.findings import Findings
from kdbench.results.records import Diagnostic
from kdbench.results.run_folder import RunFolder, choose_folder, folder_of, require_no_results, require_unused
from kdbench.results.values import require_id
from kdbench.workflows.files.images import TestImages
from kdbench.workflows.files.model_files import load_bench_model, require_known_models
from kdbench.workflows.files.torch_networks import (
    PROGRAM,
    TorchNetwork,
    errors_by_id,
    export_networks,
    initial_weights_diagnostics,
    moved_to_run,
    torch_networks,
)
from kdbench.workflows.stages.results import RunResults, assemble_record, write_results


def bench_models(
    paths: Sequence[str | Path] | str | Path = (),
    *,
    torch: Sequence[str] = (),
    weights: Sequence[str] = (),
    name: str = "bench",
    cards: Mapping[str, ModelCard | None] | None = None,
    inputs: InputOptions | None = None,
    teacher: str | Mapping[str, str] | None = None,
    timed: bool | Container[str] = True,
    options: Measure | None = None,
    out: str | Path | None = None,
    targets: Sequence[Target | str | Path] = (),
    progress: Progress | None = None,
    command: str = "",
) -> RunResults:
    """Measure model files side by side, and write the record, its verdicts on `targets` and the reports.

    The files are ONNX files and torch's exported programs (.pt2). `torch` are networks of your own code, as import
    paths `[ID=]pkg.module:factory`, and `weights` their files, `[ID=]FILE`. Programs and networks are exported to the
    run's folder, and the exported files are checked against them.

    The first file is the reference of the ratios. `teacher` names another one by its id (the file's name without
    suffix), or maps each id to the id of its reference; models left out have no ratios. `inputs` is the data to score
    on and its preprocessing; without accuracy, inputs are synthetic, in the shape of each model. `timed` is True for
    all models, False for none, or the ids of the models to time. Of the others, only metrics that do not depend on the
    machine are measured: accuracy, fidelity, size and MACs. The keys of `cards` replace the files' names as ids, in
    their order; a value that is not None replaces the card beside the file. `name` is the record's. Raises InputError
    for files, data and options that do not fit. `kdbench.bench` is this function in the Python API.
    """
    progress, out, loaded_targets = progress or Silent(), folder_of(out), targets_of(targets)
    options, inputs = options or Measure(), inputs or InputOptions()
    model_paths = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    for path in model_paths:
        require_model_file(path)
    if inputs.accuracy and inputs.data is None:
        raise InputError("accuracy needs data", "add --data NAME, or --no-accuracy to measure on synthetic inputs")
    timed = timed if options.times else False
    request = _Request.of(model_paths, torch_networks(torch, weights), cards or {}, teacher, timed)
    require_unused(out)

    inputs = require_known_models(inputs, request.ids)
    progress.stage("load", 1, 3)
    images = TestImages(inputs) if inputs.accuracy else None
    with ExitStack() as claim:
        with temporary.folder() if request.networks else nullcontext() as export_folder:
            loaded = _load(request, inputs, images, export_folder)
            check_config(options, progress)
            folder = claim.enter_context(_claimed(name, out))
            progress.folder(folder.path)
            models = _with_teachers([request.moved_to_run(model, folder) for model in loaded.models])
        progress.stage("measure", 2, 3)
        environment = fingerprint.fingerprint()
        findings = Findings(warnings=loaded.diagnostics)
        findings += measure(models, loaded.test, options, folder.workspace, progress, Analyses(loaded.class_names))
        findings += _kernels(models, options)
        data = inputs.data if loaded.test is not None else None
        record = assemble_record(
            findings,
            options,
            environment,
            [model.card for model in models],
            kind="bench",
            name=name,
            title=f"{', '.join(request.ids)} on {data or 'synthetic inputs'}",
            command=command,
            protocol={"data": data},
        )
        progress.stage("report", 3, 3)
        return write_results(record, findings.samples, folder, loaded_targets)


@dataclass(frozen=True)
class _Request:
    """The models to measure by their ids, in order: their files, or the networks that are exported to files.

    A model is compared with its reference, which may be itself. `timed` is True for all, False for none, or some ids.
    """

    ids: list[str]
    files: Mapping[str, Path]
    networks: Mapping[str, TorchNetwork]
    cards: Mapping[str, ModelCard | None]
    references: Mapping[str, str]
    timed: bool | Container[str]

    @classmethod
    def of(
        cls,
        paths: Sequence[Path],
        networks: Sequence[TorchNetwork],
        cards: Mapping[str, ModelCard | None],
        teacher: str | Mapping[str, str] | None,
        timed: bool | Container[str],
    ) -> "_Request":
        """Name the models; raises InputError for names that do not fit, and without torch for networks."""
        ids = list(cards) or model_ids(paths, networks)
        files = dict(zip(ids, paths, strict=False))  # networks follow the files
        programs = [TorchNetwork(id_, program=path) for id_, path in files.items() if path.suffix == PROGRAM]
        by_id = {network.id: network for network in (*programs, *networks)}
        if by_id:
            extras.require("train", "exporting torch networks")
        return cls(ids, files, by_id, cards, _references(ids, paths, teacher), timed)

    def exported(self, inputs: InputOptions, images: TestImages | None, folder: Path) -> dict[str, Path]:
        """Return all files, with those of the networks, which are exported to `folder`."""
        exports = export_networks(list(self.networks.values()), inputs, images, folder)
        return {**self.files, **dict(zip(self.networks, exports, strict=True))}

    def loaded(
        self, id_: str, path: Path, inputs: InputOptions, images: TestImages | None
    ) -> tuple[BenchModel, tuple[Diagnostic, ...]]:
        """Return the model in the file `path`, and its diagnostics."""
        network = self.networks.get(id_)
        with errors_by_id(network, path):
            return load_bench_model(
                path,
                id_,
                inputs,
                reference=self.references[id_],
                images=images,
                timed=self.timed if isinstance(self.timed, bool) else id_ in self.timed,
                card=self.cards.get(id_),
                described_by=network.described_by if network else None,
            )

    def moved_to_run(self, model: BenchModel, folder: RunFolder) -> BenchModel:
        """Return a model with its file in the run's folder, if it was exported."""
        return moved_to_run(model, self.networks[model.id], folder) if model.id in self.networks else model


@dataclass(frozen=True)
class _Loaded:
    """The models that were loaded, the data to score them on (None: they are not scored), and diagnostics of both."""

    models: Sequence[BenchModel]
    test: TestSet | None
    class_names: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]


def _load(request: _Request, inputs: InputOptions, images: TestImages | None, export_folder: Path | None) -> _Loaded:
    """Load the requested models and the data in the forms that they need; networks are exported to `export_folder`."""
    files = request.files if export_folder is None else request.exported(inputs, images, export_folder)
    loaded = [request.loaded(id_, files[id_], inputs, images) for id_ in request.ids]
    models = [model for model, _ in loaded]
    diagnostics = tuple(diagnostic for _, diagnostics in loaded for diagnostic in diagnostics)
    diagnostics += initial_weights_diagnostics(list(request.networks.values()))
    if images is None:
        return _Loaded(models, None, (), diagnostics)
    return _Loaded(models, images.test_set(), images.class_names, diagnostics + images.diagnostics)


@contextmanager
def _claimed(name: str, out: Path | None) -> Iterator[RunFolder]:
    """Claim the folder of the run for the block; raises InputError if it has results."""
    folder = RunFolder(choose_folder(name, out))
    with claimed(folder.path):
        require_no_results(out)  # again: another process may have held it meanwhile
        with storage.storage_errors(folder.path):
            yield folder


def _with_teachers(models: Sequence[BenchModel]) -> list[BenchModel]:
    """Return the models; a compressed variant gets the teacher of its source."""
    cards = {model.id: model.card for model in models}
    return [replace(model, behind=teacher_behind(model.card, cards)) for model in models]


def _kernels(models: Sequence[BenchModel], options: Measure) -> Findings:
    """Return findings on this machine's kernels for the quantized and compressed files among `models`."""
    if not any(model.card.variant or model.facts.quantized for model in models):
        return Findings()
    from kdbench.workflows.files.kernels import kernel_findings  # loads onnx and onnxruntime

    return kernel_findings(models, options)


def model_ids(paths: Sequence[Path], networks: Sequence[TorchNetwork] = ()) -> list[str]:
    """Return ids for model files and networks: the files' names, after the folder's name if several files share one.

    Raises InputError without models, for names that are not ids, and for two models with the same id.
    """
    if not paths and not networks:
        raise InputError("no model to measure", "name at least one .onnx file, or a network with --torch")
    stems = [path.stem for path in paths]
    folders = [path.resolve().parent.name for path in paths]
    ids = [f"{f}-{stem}" if stems.count(stem) > 1 else stem for f, stem in zip(folders, stems, strict=True)]
    ids = [path.name if ids.count(id_) > 1 else id_ for id_, path in zip(ids, paths, strict=True)]  # m.onnx and m.ort
    if len(set(ids)) != len(ids):
        raise InputError("two models are the same file, or have the same name and folder", "name each file once")
    ids += [network.id for network in networks]
    for id_ in ids:
        require_id(id_)
    if duplicate := next((id_ for id_ in ids if ids.count(id_) > 1), None):
        raise InputError(f"two models are called {duplicate}", "name the network: --torch ID=pkg.module:factory")
    return ids


def _references(ids: list[str], paths: Sequence[Path], teacher: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return the id of each id's reference, which is its own reference; `teacher` names one by its id or its file."""
    if isinstance(teacher, Mapping):
        return {id_: teacher.get(id_, id_) for id_ in ids}
    if teacher is None:
        return dict.fromkeys(ids, ids[0])
    by_path = dict(zip(paths, ids, strict=False))  # networks follow the files
    name = by_path.get(Path(teacher)) or (Path(teacher).stem if Path(teacher).suffix in {".onnx", PROGRAM} else teacher)
    if name not in ids:
        hint = suggestion(name, ids, f"models: {', '.join(ids)}")
        raise InputError(f"the teacher {teacher!r} is not one of the models", hint)
    return dict.fromkeys(ids, name)
