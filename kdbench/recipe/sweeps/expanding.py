"""Entries of a recipe that stand for several models, expanded: inherited tables, sweeps, generations.

    sweep = { "terms.0.temperature" = [1, 4], "training.epochs" = [2, 5] }    every combination is a model
    sweep = { "ce_weight, terms.0.kd_weight" = [[0.1, 0.9], [0.5, 0.5]] }     keys that change together: one axis
    generations = 3                                                           each learns from the one before

A sweep's keys are dotted paths into the entry. An axis of several keys is named after the first, and after the others
that the entry's name mentions. In the entry's `name`, `{temperature}` stands for the value of the axis whose key ends
in `temperature`; axes that the name does not mention are appended. Sweeps and generations are expanded before
validation, so that values in a sweep are validated like any other.
"""

import copy
import itertools
import math
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdbench.files import storage
from kdbench.recipe.tables.data import AUGMENT_LEVELS, Examples
from kdbench.recipe.tables.models import is_onnx
from kdbench.recipe.tables.variants import with_name
from kdbench.user_input.validation import WrongValueError

ROLES = ("teacher", "student", "variant")
MAX_MODELS = 20_000
_DIGITS = 9  # of an index
_OF_EVERY_USE = ("precision", "channels_last", "compile", "threads", "device", "devices", "num_nodes", "strategy")
_TIMES = ("from_epoch", "until_epoch", "stop_at")  # in epochs or, below 1, as shares of all epochs
_MAX_NAME = 80


def expanded(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's content with sweeps and generations expanded and shared tables inherited by every entry.

    Content with another structure than a recipe's is left to validation. Raises ValueError for a sweep that cannot be
    expanded.
    """
    result = dict(recipe)
    training, data = _table(result.get("training")), _table(result.get("data"))
    examples = {key: _augmentation(key, value) for key, value in data.items() if key in Examples.model_fields}
    for role in ("teacher", "student"):
        if entries := _tables(result.get(role)):
            _require_few(entries)
            points = [point for entry in entries for swept in _swept(entry) for point in _generations(swept)]
            result[role] = [_inheriting(_ready(point, role), training, examples) for point in points]
    _inherit_models(result.get("teacher"), result.get("student"))
    if entries := _tables(result.get("variant")):
        _require_few(entries)
        result["variant"] = [point for entry in entries for point in _swept(with_name(entry))]
    return result


def _inherit_models(teachers: Any, students: Any) -> None:
    """Give every pruned student, in place, the model of what it is pruned from; validation reports unknown names."""
    everyone = [*_tables(teachers), *_tables(students)]
    by_name = {entry["name"]: entry for entry in everyone if isinstance(entry.get("name"), str)}
    first = next((entry.get("name") for entry in _tables(teachers)), None)
    pruned = [entry for entry in everyone if isinstance(entry.get("prune"), dict) and "model" not in entry]
    before = -1
    while len(pruned) != before:  # one may be pruned from another
        before = len(pruned)
        for entry in pruned:
            of = entry["prune"].get("of", _first(entry.get("teacher"), first))
            source = by_name.get(of, {}) if isinstance(of, str) else {}
            if is_onnx(source.get("weights")) or source.get("logits") is not None:
                entry.setdefault("model", "onnx")  # which validation refuses with the reason
            elif "model" in source:
                entry.setdefault("model", source["model"])
        pruned = [entry for entry in pruned if "model" not in entry]


def _first(teacher: Any, default: Any) -> Any:
    names = teacher if isinstance(teacher, list | tuple) else [teacher]
    return names[0] if names and names[0] is not None else default


def _require_few(entries: Iterable[Mapping[str, Any]]) -> None:
    """Raise ValueError, before anything is expanded, for sweeps and generations of more models than can be trained."""
    total = 0
    for entry in entries:
        sweep, generations = entry.get("sweep"), entry.get("generations", 1)
        values = sweep.values() if isinstance(sweep, Mapping) else ()
        points = math.prod(len(axis) for axis in values if isinstance(axis, list | tuple))
        total += points * (generations if isinstance(generations, int) else 1)
        if total > MAX_MODELS:
            raise ValueError(f"sweep: {total:,} models, but a recipe may have at most {MAX_MODELS:,}")


def merged(base: Any, over: Any) -> Any:
    """Return `base` overridden by `over`, key by key; anything but a table is replaced as a whole."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}


def _inheriting(entry: dict[str, Any], training: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    data = entry.get("data", {})
    if isinstance(data, dict):
        data = {key: _augmentation(key, value) for key, value in data.items()}
    entry = {**entry, "training": merged(training, entry.get("training", {})), "data": merged(examples, data)}
    if isinstance(data, dict) and "subset" in data:  # the rules exclude each other
        entry["data"]["subset"] = data["subset"]
    parts = entry.get("sub_students")
    if isinstance(parts, dict):
        entry["sub_students"] = {**parts, "head": merged(entry["training"], parts.get("head", {}))}
    return entry


def _ready(entry: dict[str, Any], role: str) -> dict[str, Any]:
    """Return a teacher that has a file with 0 epochs, unless its own table sets them: it is used unchanged."""
    training = entry.get("training", {})
    has_file = entry.get("weights") is not None or entry.get("logits") is not None
    if role != "teacher" or not has_file or not isinstance(training, dict):
        return entry
    if "epochs" not in training:
        unused = [f"training.{key}" for key in training if key not in _OF_EVERY_USE]
        if unused := [*unused, *(f"data.{key}" for key in _table(entry.get("data")))]:
            message = f"teacher {entry.get('name')!r} has a file and no training.epochs, so that it is not trained"
            hint = f"give its training.epochs to train it further, or leave {unused[0]} out"
            raise WrongValueError(f"{message}, and {unused[0]} has no effect", hint)
    return {**entry, "training": {"epochs": 0, **training}}


def _augmentation(key: str, value: Any) -> Any:
    """Return the complete table for an augmentation level, which replaces an inherited augmentation."""
    if key != "augment" or not isinstance(value, str) or value not in AUGMENT_LEVELS:
        return value
    return {"pad": 0, "flip": False, "mixup": 0.0, "cutmix": 0.0, "transform": None, **AUGMENT_LEVELS[value]}


def _tables(value: Any) -> list[dict[str, Any]]:
    """Return the tables of an array, or a single one; none if it holds anything else, which validation reports."""
    entries = [value] if isinstance(value, dict) else value
    is_array = isinstance(entries, list | tuple) and all(isinstance(entry, dict) for entry in entries)
    return list(entries) if is_array else []


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _swept(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield an entry for every combination of the sweep's values; the entry itself if it has no sweep."""
    entry = dict(entry)
    sweep = entry.pop("sweep", None)
    if sweep is None:
        yield entry
        return
    if not isinstance(sweep, dict) or not sweep or not all(isinstance(v, list | tuple) and v for v in sweep.values()):
        raise ValueError('sweep: give each axis a list of values, such as { "training.epochs" = [2, 5] }')
    for axis, values_of_axis in sweep.items():
        require_epochs_or_shares(axis, values_of_axis)
    axes = [keys_of(axis) for axis in sweep]
    template = str(entry.get("name", ""))
    labels = axis_labels(list(itertools.chain(*axes)))
    for values in itertools.product(*sweep.values()):
        point, mentioned = copy.deepcopy(entry), {}
        for paths, value in zip(axes, values, strict=True):
            together = [value] if len(paths) == 1 else value
            if not isinstance(together, list | tuple) or len(together) != len(paths):
                raise ValueError(f"sweep: {', '.join(paths)!r}: give lists of {len(paths)} values (given: {value!r})")
            for path, part in zip(paths, together, strict=True):
                _put(point, path, part)
                if path == paths[0] or f"{{{labels[path]}}}" in template:
                    mentioned[labels[path]] = plain(part)
        yield {**point, "name": named(template, mentioned), "family": template, "axes": mentioned}


def axis_labels(paths: Sequence[str], used: Container[str] = ()) -> dict[str, str]:
    """Return a short name for each path: its last word, or the full path if the word is ambiguous or `used`."""
    last = {path: path.rpartition(".")[2] for path in paths}
    words = list(last.values())
    ambiguous = {word for word in words if words.count(word) > 1 or word == "name" or word in used}
    labels = {path: path if word in ambiguous else word for path, word in last.items()}
    return {path: re.sub(r"\W+", "_", label.removesuffix(".name")) for path, label in labels.items()}


def labels_of_entries(content: Mapping[str, Any]) -> set[str]:
    """Return the labels of the axes in the `sweep` tables of a recipe's models."""
    entries = [entry for role in ROLES for entry in _tables(content.get(role))]
    tables = [entry["sweep"] for entry in entries if isinstance(entry.get("sweep"), dict)]
    axes_of_entries = [list(itertools.chain(*map(keys_of, table))) for table in tables]
    return {label for axes in axes_of_entries for label in axis_labels(axes).values()}


def keys_of(axis: str) -> list[str]:
    """Return the keys that change together along an axis; it names them separated by commas."""
    return [key.strip() for key in axis.split(",")]


def require_epochs_or_shares(axis: str, values: Sequence[Any]) -> None:
    """Raise ValueError for an axis of times that are shares of all epochs, but for 1, which is one epoch."""
    keys = keys_of(axis)
    for place, key in enumerate(keys):
        column = (
            values if len(keys) == 1 else [v[place] for v in values if isinstance(v, list | tuple) and place < len(v)]
        )
        numbers = [value for value in column if isinstance(value, int | float) and not isinstance(value, bool)]
        if key.rpartition(".")[2] in _TIMES and 1 in numbers and any(0 < number < 1 for number in numbers):
            message = f"{key!r}: 1 is the first epoch alone, and values below 1 are shares of all epochs"
            raise WrongValueError(message, "write the number of all epochs in place of 1, or every value in epochs")


def plain(value: Any) -> Any:
    """Return a value as a model's place on an axis: of a list or table, its items as text.

    A table's keys precede their values, except `name`: `{ name = "convnet", widths = [8] }` is `convnet-widths8`.
    """
    if isinstance(value, dict):
        return "-".join(f"{'' if key == 'name' else key}{plain(item)}" for key, item in value.items())
    return "-".join(str(plain(item)) for item in value) if isinstance(value, list | tuple) else value


def named(template: str, axes: Mapping[str, Any]) -> str:
    """Return a model's name with its values in place of `{label}`, and those that it does not mention appended."""
    axis_names = re.findall(r"\{(\w*)\}", template)
    if unknown := [word for word in axis_names if word not in axes]:
        raise ValueError(f"name {template!r}: there is no axis {unknown[0]!r}; axes: {', '.join(axes)}")
    rest = []
    for label, value in axes.items():
        text = re.sub(r"[^A-Za-z0-9_-]+", "_", str(value)).strip("_")
        if f"{{{label}}}" in template:
            template = template.replace(f"{{{label}}}", text)
        else:
            rest.append(f"{label}{text}")
    name = "-".join((template, *rest))
    if not rest or len(name) <= _MAX_NAME:
        return name
    return f"{name[: _MAX_NAME - 9]}-{storage.content_hash(name)[:8]}"  # many axes, each with its value


def _put(node: Any, path: str, value: Any) -> None:
    if path.startswith("terms.") and not node.get("terms"):
        raise ValueError(f"sweep: {path!r}: the entry has no terms")
    *parents, last = path.split(".")
    for depth, key in enumerate(parents):
        so_far = ".".join(parents[: depth + 1])
        if isinstance(node, dict):
            if isinstance(node.get(key), str) and key == "model":
                node[key] = {"name": node[key]}
            if node.get(key) is None:
                node[key] = {}
        node = node[_place(node, key, path, so_far)]
        if not isinstance(node, dict | list):
            raise ValueError(f"sweep: {path!r}: {so_far!r} is a plain value")  # noqa: TRY004 - pydantic catches this
    node[_place(node, last, path, last)] = value


def _place(node: Any, key: str, path: str, shown: str) -> Any:
    """Return the key of an item in a table, or its index in a list."""
    if not isinstance(node, list):
        return key
    if not is_index(key, node):
        raise ValueError(f"sweep: {path!r}: there is no item {shown!r}")
    return int(key)


def is_index(key: str, items: list[Any]) -> bool:
    """Whether `key` is the number of one of `items`, from 0."""
    return key.isascii() and key.isdecimal() and len(key) <= _DIGITS and int(key) < len(items)


def _generations(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the generations of a born-again student, each learning from the one before; else the entry itself."""
    entry = dict(entry)
    count = entry.pop("generations", None)
    if count is None:
        yield entry
        return
    if not isinstance(count, int) or not 1 <= count <= 100:
        raise ValueError(f"generations: give a number from 1 to 100 (given: {count!r})")
    if not entry.get("terms"):
        raise ValueError("generations: without terms, no generation learns from the previous one")
    name = str(entry.get("name", ""))
    teacher = entry.get("teacher")
    for number in range(1, count + 1):
        axes = {**entry.get("axes", {}), "generation": number}
        yield {**entry, "name": f"{name}-{number}", "teacher": teacher, "family": name, "axes": axes}
        teacher = f"{name}-{number}"
