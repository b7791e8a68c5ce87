"""Measure model files that kdbench did not train, without a recipe."""

from collections.abc import Container, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from kdbench import extras
from kdbench.errors import InputError
from kdbench.evaluate.predictions import Analyses
from kdbench.files import storage
from kdbench.files.claim import claimed
from kdbench.judge.target import Target, targets_of
from kdbench.machine import fingerprint
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.harness import check_config, measure
from kdbench.modelfile.reading import require_model_file
from kdbench.processes import temporary
from kdbench.progress import Progress, Silent
from kdbench.recipe import InputOptions, Measure
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard, teacher_behind
from kdbench.results.findings import Findings
from kdbench.results.run_folder import RunFolder, choose_folder, folder_of, require_no_results, require_unused
from kdbench.results.values import require_id
from kdbench.workflows.files.model_files import TestImages, load_bench_model, require_known_models
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
    all models, False for none, or the ids of the models to time; the others are measured only where the machine does
    not matter: accuracy, fidelity, size and MACs. The keys of `cards` replace the files' names as ids, in their order;
    a value that is not None replaces the card beside the file. `name` is the record's. Raises InputError for files,
    data and options that do not fit. `kdbench.bench` is this function in the Python API.
    """
    progress, out, loaded_targets = progress or Silent(), folder_of(out), targets_of(targets)
    model_paths = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    options = options or Measure()
    inputs = inputs or InputOptions()
    for path in model_paths:
        require_model_file(path)
    if inputs.accuracy and inputs.data is None:
        raise InputError("accuracy needs data", "add --data NAME, or --no-accuracy to measure on synthetic inputs")
    cards = cards or {}
    networks = torch_networks(torch, weights)
    ids = list(cards) or model_ids(model_paths, networks)
    files = dict(zip(ids, model_paths, strict=False))  # networks follow the files
    networks = [TorchNetwork(id_, program=path) for id_, path in files.items() if path.suffix == PROGRAM] + networks
    if networks:
        extras.require("train", "exporting torch networks")
    references = _references(ids, model_paths, teacher)
    require_unused(out)

    inputs = require_known_models(inputs, ids)
    progress.stage("load", 1, 3)
    images = TestImages(inputs) if inputs.accuracy else None
    with ExitStack() as claim, ExitStack() as exports:
        by_id = {network.id: network for network in networks}
        if networks:  # exporting loads torch, which takes seconds
            export_folder = exports.enter_context(temporary.folder())
            files |= zip(by_id, export_networks(networks, inputs, images, export_folder), strict=True)
        loaded = []
        for id_ in ids:
            network = by_id.get(id_)
            with errors_by_id(network, files[id_]):
                model = load_bench_model(
                    files[id_],
                    id_,
                    inputs,
                    reference=references[id_],
                    images=images,
                    timed=options.times and (timed if isinstance(timed, bool) else id_ in timed),
                    card=cards.get(id_),
                    described_by=network.described_by if network else None,
                )
            loaded.append(model)
        test = None if images is None else images.test_set()
        diagnostics = tuple(diagnostic for _, diagnostics in loaded for diagnostic in diagnostics)
        diagnostics += initial_weights_diagnostics(networks) + (() if images is None else images.diagnostics)

        check_config(options, progress)
        folder = RunFolder(choose_folder(name, out))
        claim.enter_context(claimed(folder.path))
        require_no_results(out)  # again: another process may have held it meanwhile
        claim.enter_context(storage.explained(folder.path))
        progress.folder(folder.path)
        models = _with_teachers([moved_to_run(m, by_id[m.id], folder) if m.id in by_id else m for m, _ in loaded])
        exports.close()
        progress.stage("measure", 2, 3)
        environment = fingerprint.fingerprint()
        analyses = Analyses(() if images is None else images.class_names)
        findings = Findings(warnings=diagnostics) + measure(models, test, options, folder.workspace, progress, analyses)
        findings += _kernels(models, options)
        data = inputs.data if test is not None else None
        record = assemble_record(
            findings,
            options,
            environment,
            [model.card for model in models],
            kind="bench",
            name=name,
            title=f"{', '.join(ids)} on {data or 'synthetic inputs'}",
            command=command,
            protocol={"data": data},
        )
        progress.stage("report", 3, 3)
        return write_results(record, findings.samples, folder, loaded_targets)


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
