"""Model cards: a model file's identity, the preprocessing of its inputs and its training. Records contain them too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from kdbench.results.preprocessing import DataLayout, Preprocessing
from kdbench.results.values import AnyTable, Id, StoredValue
from kdbench.user_input.validation import SmallValue, Value, added_later

Role = Literal["teacher", "student", "variant"]
Evidence = Literal["measured", "modelled", "estimated"]  # how a number was obtained


class Epoch(SmallValue):
    """One row of a training curve: losses, scores, the learning rate at the epoch's start.

    A classification has losses in nats and accuracies as shares; a regression mean squared errors as losses, and their
    roots, in the targets' unit, as scores. Where classes have weights, the losses are weighted, and so is
    `validation_weighted_top1`, the share of the weights whose samples are right; the other accuracies count samples.
    """

    epoch: int
    train_loss: float
    train_top1: float | None = None
    train_rmse: float | None = None
    validation_loss: float
    validation_top1: float | None = None
    validation_weighted_top1: float | None = added_later(None)
    validation_rmse: float | None = None
    learning_rate: float
    seconds: float

    @property
    def validation_score(self) -> float:
        """What chooses the best epoch, the larger the better.

        The validation accuracy, weighted where classes have weights; without one, minus the loss.
        """
        accuracy = self.validation_top1 if self.validation_weighted_top1 is None else self.validation_weighted_top1
        return -self.validation_loss if accuracy is None else accuracy

    @property
    def columns(self) -> dict[str, float]:
        """The values that the row has, by name."""
        return self.model_dump(exclude_none=True)


class EnergyUse(Value):
    """Gross energy in joules that the meter `source` counted for `scope`, and half its interval's width."""

    scope: str
    source: str
    evidence: Evidence
    energy_j: float
    half_width_j: float


class Training(Value):
    """How a model was trained; its weights are those after epoch `kept_epoch`.

    `objective` is the loss in words, with its weights. `best_epoch` is the first epoch with the best validation
    score. `seconds` is the wall time of the epochs, validation included, on `device` with `threads` CPU threads.
    `energy` is what the epochs used, with the hardware that trained first; `unmetered` is why it is unknown. `teacher`
    says whether teachers ran at every step (`live`) or their logits were computed once and cached (`kept`). That took
    `teacher_s`, which students share and `seconds` does not include.
    """

    objective: str
    epochs: int
    best_epoch: int
    kept_epoch: int
    seconds: float
    precision: str
    device: str
    threads: int
    seed: int
    stopped_early: bool = False
    energy: tuple[EnergyUse, ...] = ()
    unmetered: str | None = None
    teacher: Literal["live", "kept"] | None = None
    teacher_s: float = 0.0
    curve: tuple[Epoch, ...] = ()


class Bits(Value):
    """The bits of a network's weights and activations, and of both in its first and last layers."""

    weights: int
    activations: int
    first_last: int


class PrunedLatency(Value):
    """The time of a call of a pruned network's file, measured where it was pruned, before further training.

    `share` is of the source's time, with its 95 % interval from `low` to `high`, `time_ns` the median time, at the
    number of `threads` of `provider`; `tried` networks were timed until one met the `goal`, as the recipe states it.
    """

    goal: float | str
    share: float
    low: float
    high: float
    time_ns: float
    threads: int
    provider: str
    tried: int


class Pruning(Value):
    """The source of a pruned network: the model `of`, and the share of its MACs that remains.

    `latency` is what was measured for a network that was pruned until its calls were fast enough.
    """

    of: Id
    macs_share: float
    latency: PrunedLatency | None = added_later(None)


class Origin(Value):
    """The file of a network's weights, except for the tensors `fresh`, such as a new last layer.

    `key` names these weights in a file with several sets, as in "state_dict.model".
    """

    file: str
    sha256: str
    key: str = ""
    fresh: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The origin in words."""
        fresh = f"; newly initialised: {', '.join(self.fresh)}" if self.fresh else ""
        key = f"{self.key!r} of " if self.key else ""
        return f"starts from {key}{self.file} (SHA-256 {self.sha256[:12]}…){fresh}"


class CodeFile(Value):
    """A file of user code, or one that it reads: its name (of installed code: name and version) and SHA-256."""

    name: str
    sha256: str


class CalibrationSet(Value):
    """The inputs that activations were calibrated on: `count` samples of the training part, drawn with `seed`.

    `sha256` is of the samples as the data set called `data` holds them, in the training part's order; of labelled
    samples it covers the labels too.
    """

    data: str
    count: int
    seed: int
    sha256: str


class Variant(Value):
    """How a file was made from another one: by compression method `method` with `settings`, from the model `of`.

    `ranges` are the lowest and highest value that each quantized activation keeps, `versions` those of the libraries
    that wrote the file, `facts` further facts from the method. `held_out` are the labelled samples that a goal of
    accuracy was judged on. Files with one `key` have the same bytes. `outcome_sha256` is the hash of `ranges` and
    `facts`, which cannot be computed again after the file is written.
    """

    of: Id
    source_sha256: str
    method: str
    settings: AnyTable = Field(default_factory=dict)
    calibration: CalibrationSet | None = None
    held_out: CalibrationSet | None = added_later(None)
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)
    facts: AnyTable = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    key: str
    outcome_sha256: str | None = added_later(None)


class ModelCard(StoredValue):
    """What a model file is and where it came from. `input_shape` is one sample's: of an image channels, height, width.

    `parents` are the models it is compared with, `teachers` those it learned from. `family` and `axes` are its sweep
    and its point in it. `options` belong to the `architecture`; `bits` is set for a network trained with quantization.
    `code` are the files of user code that it was trained with. `variant` is set for a file that was compressed,
    `pruned` for a network that is smaller than its `architecture`. `file` and `weights`, the .safetensors file of the
    exported network, are relative to the run's folder. `targets`
    name the numbers that a regression predicts, in their own unit: no output is scaled; a classifier has none.

        >>> card = kdbench.RunRecord.read("runs/digits").cards["student"]
        >>> card.input_shape, card.outputs, card.parameters
        ((1, 8, 8), 10, 650)
    """

    file_kind = "model card"
    hint = "export the model again, or move the card away and give --mean, --std and --scale"

    id: Id
    name: str
    role: Role
    parents: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    architecture: str | None = None
    options: AnyTable = Field(default_factory=dict)
    bits: Bits | None = None
    code: tuple[CodeFile, ...] = added_later(())
    pruned: Pruning | None = added_later(None)
    family: str | None = None
    axes: dict[str, str | int | float | bool] = Field(default_factory=dict)
    weights: str | None = None
    origin: Origin | None = None
    seed: int | None = None
    file: str
    sha256: str
    input_shape: tuple[int, ...]
    layout: DataLayout | Literal["flat", "other"] = "NCHW"
    fixed_batch: int | None = None
    classes: int | None
    targets: tuple[str, ...] = ()
    parameters: int
    opset: int | None = None
    preprocessing: Preprocessing | None = None
    training: Training | None = None
    variant: Variant | None = added_later(None)

    @property
    def outputs(self) -> int | None:
        """The number of its outputs: numbers that it predicts, or classes if they are known."""
        return len(self.targets) or self.classes

    @property
    def made_by_kdbench(self) -> bool:
        """Whether kdbench trained the model, or compressed it: then the card defines how its inputs are prepared."""
        return self.training is not None or self.variant is not None


def teacher_behind(card: ModelCard, cards: Mapping[str, ModelCard]) -> str | None:
    """Return the teacher that a compressed variant descends from, by its id in `cards`; None for any other model.

    The origin of a variant is the model that it was made of, directly or through other variants. The result is the
    origin if that is a teacher, else the teacher that this student is compared with. It is also None if the files in
    `cards` are not those that the variant was made of.
    """
    origin = card
    for _ in cards:
        if origin.variant is None:
            break
        source = cards.get(origin.variant.of)
        if source is None or source.sha256 != origin.variant.source_sha256:
            return None
        origin = source
    if origin is card or origin.variant is not None:
        return None
    return origin.id if origin.role == "teacher" else next((id_ for id_ in origin.parents if id_ in cards), None)


def without_teachers(cards: Sequence[ModelCard]) -> Sequence[ModelCard]:
    """Return the models that are not teachers; where there are none, all models: each is its own reference."""
    return [card for card in cards if card.role != "teacher"] or cards


def cards_by_name(cards: Iterable[ModelCard]) -> dict[str, list[ModelCard]]:
    """Return the cards with each name, in their order."""
    by_name: dict[str, list[ModelCard]] = {}
    for card in cards:
        by_name.setdefault(card.name, []).append(card)
    return by_name


def seed_groups(cards: Iterable[ModelCard]) -> list[tuple[ModelCard, ...]]:
    """Group the cards that differ only in their training seed; any other card is a group of one.

    Cards with one name form a group only if each has a seed of its own; otherwise they are different models whose files
    have the same name. Groups and cards keep their order.
    """
    groups: list[tuple[ModelCard, ...]] = []
    for namesakes in cards_by_name(cards).values():
        seeds = {card.seed for card in namesakes}
        distinct = len(seeds) == len(namesakes) and None not in seeds
        groups += [tuple(namesakes)] if distinct else [(card,) for card in namesakes]
    return groups
