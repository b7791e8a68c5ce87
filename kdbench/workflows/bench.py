"""Measure model files that kdbench did not train, without a recipe."""

from collections.abc import Container, Mapping, Sequence
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any

from kdbench import storage
from kdbench.errors import InputError
from kdbench.evaluate.predictions import Analyses
from kdbench.judge.target import Target
from kdbench.machine import fingerprint
from kdbench.measure.bench_model import BenchModel, TestSet, network_of
from kdbench.measure.harness import check_config, measure
from kdbench.measure.staging import noise_shape
from kdbench.modelfile.facts import ModelFacts, inspect
from kdbench.progress import Progress, Silent
from kdbench.recipe import InputOptions, Measure
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard, Preprocessing
from kdbench.results.run_folder import RunFolder, card_path, choose_folder, require_unused
from kdbench.validation import validated
from kdbench.workflows.stages.results import RunResults, assemble_record, record_and_folder, write_results


def bench_models(
    paths: Sequence[Path],
    *,
    name: str = "bench",
    cards: Mapping[str, ModelCard | None] | None = None,
    inputs: InputOptions | None = None,
    teacher: str | Mapping[str, str] | None = None,
    timed: bool | Container[str] = True,
    options: Measure | None = None,
    out: Path | None = None,
    targets: Sequence[Target] = (),
    progress: Progress | None = None,
    command: str = "",
) -> RunResults:
    """Measure ONNX files side by side, and write the record, its verdicts on `targets` and the reports.

    The first file is the reference of the ratios. `teacher` names another one by its id (the file's name without
    suffix), or maps each id to the id of its reference; models left out have no ratios. `inputs` is the data to score
    on and its preprocessing; without accuracy, inputs are synthetic, of each model's own shape. For models that are not
    `timed` (all, none, or all but the ids given) only what does not depend on the machine is measured: accuracy,
    fidelity, size and MACs. `cards` gives the files other ids than their names, in their order, and other cards than
    those beside them, where one is given; `name` is the record's. Raises InputError for files, data and options that do
    not fit. `bench` is its form in the Python API.
    """
    progress = progress or Silent()
    options = options or Measure()
    inputs = inputs or InputOptions()
    if inputs.accuracy and inputs.data is None:
        raise InputError("accuracy needs data", "add --data NAME, or --no-accuracy to measure on synthetic inputs")
    cards = cards or {}
    ids = list(cards) or model_ids(paths)
    references = _references(ids, paths, teacher)
    require_unused(out)

    progress.stage("load", 1, 3)
    test, shape = None, None
    class_names: tuple[str, ...] = ()
    if inputs.accuracy:
        test, shape, class_names = load_test(inputs)
    models = [
        load_bench_model(
            path,
            id_,
            inputs,
            shape=shape,
            reference=references[id_],
            timed=timed if isinstance(timed, bool) else id_ in timed,
            card=cards.get(id_),
        )
        for id_, path in zip(ids, paths, strict=True)
    ]

    check_config(options, progress)
    folder = RunFolder(choose_folder(name, out))
    storage.make_folder(folder.path)
    progress.folder(folder.path)
    progress.stage("measure", 2, 3)
    environment = fingerprint.fingerprint()
    findings = measure(models, test, options, folder.workspace, progress, Analyses(class_names))
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
    return write_results(record, findings.samples, folder, targets)


def _bench(paths: Sequence[Path], **keywords: Any) -> RunResults:
    """Measure ONNX files side by side; return the record and the folder with the record and the report.

    The keywords are the fields of `InputOptions` (`data`, `mean`, `std`, …) and the other parameters of `bench_models`.
    Raises InputError for files, data and options that do not fit, MeasurementError if a model could not be run.
    """
    inputs = {name: keywords.pop(name) for name in InputOptions.model_fields if name in keywords}
    return bench_models(paths, inputs=validated(InputOptions, inputs), **keywords)


def _signature() -> Signature:
    """Return the parameters of `bench_models` with the fields of `InputOptions` in place of `inputs`."""
    paths, *others = signature(bench_models).parameters.values()
    fields = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=field.default, annotation=field.annotation)
        for name, field in InputOptions.model_fields.items()
    ]
    return Signature([paths, *fields, *(other for other in others if other.name != "inputs")])


_bench.__signature__ = _signature()  # type: ignore[attr-defined]
bench = record_and_folder(_bench, "bench")


def load_bench_model(
    path: Path,
    id_: str,
    inputs: InputOptions,
    *,
    reference: str,
    shape: tuple[int, int, int] | None = None,
    timed: bool = True,
    card: ModelCard | None = None,
) -> BenchModel:
    """Return a model file for the harness, to measure on images of `shape` or noise and compare with `reference`.

    `card` replaces the one beside the file. Raises InputError for a file that cannot be measured on such images.
    """
    facts = inspect(path, output=inputs.output, data_shape=shape)
    source = card or _card_beside(path, facts)
    is_reference = id_ == reference
    return BenchModel(
        card=ModelCard(
            id=id_,
            name=id_,
            role="teacher" if is_reference else "student",
            parents=() if is_reference else (reference,),
            file=path.name,
            sha256=facts.sha256,
            input_shape=shape or noise_shape(facts, path.name),
            layout=facts.layout,
            fixed_batch=facts.fixed_batch,
            classes=facts.classes,
            parameters=facts.parameters,
            opset=facts.opset,
            preprocessing=_preprocessing(source, inputs),
        ),
        path=path,
        facts=facts,
        teacher=None if is_reference else reference,
        timed=timed,
        network=network_of(source, path),
    )


def model_ids(paths: Sequence[Path]) -> list[str]:
    """Return ids for model files: their names, with the folder's name where several files share one."""
    if not paths:
        raise InputError("no model to measure", "name at least one .onnx file")
    stems = [path.stem for path in paths]
    folders = [path.resolve().parent.name for path in paths]
    ids = [f"{f}-{stem}" if stems.count(stem) > 1 else stem for f, stem in zip(folders, stems, strict=True)]
    if len(set(ids)) != len(ids):
        raise InputError("two models are the same file, or have the same name and folder", "name each file once")
    return ids


def _references(ids: list[str], paths: Sequence[Path], teacher: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return the reference of each id, itself for a reference; `teacher` names one by its id or its file."""
    if isinstance(teacher, Mapping):
        return {id_: teacher.get(id_, id_) for id_ in ids}
    if teacher is None:
        return dict.fromkeys(ids, ids[0])
    by_path = dict(zip(paths, ids, strict=True))
    name = by_path.get(Path(teacher)) or (Path(teacher).stem if teacher.endswith(".onnx") else teacher)
    if name not in ids:
        hint = suggestion(name, ids, f"models: {', '.join(ids)}")
        raise InputError(f"--teacher {teacher!r} is not one of the models", hint)
    return dict.fromkeys(ids, name)


def load_test(inputs: InputOptions) -> tuple[TestSet, tuple[int, int, int], tuple[str, ...]]:
    """Return the test images and labels, the shape of an image, and the names of the classes."""
    from kdbench import data  # loading some sets imports torch, which synthetic inputs do not need

    assert inputs.data is not None
    images = inputs.model_dump(include={"download", "resize", "crop"})
    dataset = data.load(inputs.data, root=inputs.data_root, parts=("test",), **images)
    assert dataset.test is not None, "loaders return the requested parts or raise"
    test = TestSet(dataset.test.images, dataset.test.labels, dataset.known_classes)
    return test, dataset.input_shape, dataset.class_names


def _card_beside(path: Path, facts: ModelFacts) -> ModelCard | None:
    """Return the card beside a file, if it describes this state of the file."""
    file = card_path(path)
    card = ModelCard.read(file) if file.exists() else None
    return card if card is not None and card.sha256 == facts.sha256 else None


def _preprocessing(card: ModelCard | None, inputs: InputOptions) -> Preprocessing:
    """Return the preprocessing of the options, completed from the file's card."""
    known = (card and card.preprocessing) or Preprocessing()
    mean, std = inputs.mean, inputs.std
    mean = mean or (known.mean if std is None or len(std) == len(known.mean) else (0.0,) * len(std))
    std = std or (known.std if len(known.std) == len(mean) else (1.0,) * len(mean))
    if len(mean) != len(std):
        raise InputError(f"--mean has {len(mean)} values and --std {len(std)}", "give both one value per channel")
    return Preprocessing(scale=known.scale if inputs.scale is None else inputs.scale, mean=mean, std=std)
