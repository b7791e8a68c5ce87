"""The interface of compression methods: settings with a function from a model file to a new file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationInfo, field_validator

from kdbench.compress.calibration import Calibration
from kdbench.compress.held_out import HeldOut
from kdbench.modelfile.facts import ModelFacts
from kdbench.user_input.validation import Value


@dataclass(frozen=True, eq=False)
class Source:
    """A model file to compress, the inputs for calibration, and labelled samples to evaluate the result.

    The last two are None for methods that do not need them.
    """

    path: Path
    facts: ModelFacts
    calibration: Calibration | None = None
    held_out: HeldOut | None = None

    @property
    def inputs(self) -> Calibration:
        """The calibration inputs of a method that needs them."""
        assert self.calibration is not None, "a calibrated method gets inputs"
        return self.calibration

    @property
    def labelled(self) -> HeldOut:
        """The labelled samples of a method that requests some (`Compressor.held_out_samples`)."""
        assert self.held_out is not None, "a method gets the labelled samples that it requests"
        return self.held_out


@dataclass(frozen=True)
class Outcome:
    """A method's report on the file that it wrote.

    `ranges` are the lowest and highest value that each quantized activation keeps. `facts` is a table of anything else
    that belongs in the card, such as the layers left in float; `warnings` are sentences for the user.
    """

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Compressor(Value):
    """A compression method; the fields of a subclass are its settings, each with a default.

    `kdbench list compressors` shows the first line of its docstring. `calibrated` is whether it needs calibration
    inputs, `leaves_float32` whether its files are float32 models, which can be compressed further. If you
    change what a method writes for the same settings, increase `revision`, so that files of an earlier revision are not
    reused.
    """

    calibrated: ClassVar[bool] = False
    leaves_float32: ClassVar[bool] = False
    revision: ClassVar[int] = 1

    @property
    def held_out_samples(self) -> int:
        """The maximum number of labelled samples, besides those for calibration, to evaluate the result."""
        return 0

    def require_available(self) -> None:
        """Raise InputError if something that the method needs is not installed, before any work begins."""

    @field_validator("*", mode="before")
    @classmethod
    def _one_name(cls, value: Any, info: ValidationInfo) -> Any:
        """Accept a single name for a setting that is a list of names."""
        is_list = info.field_name is not None and cls.model_fields[info.field_name].annotation == tuple[str, ...]
        return (value,) if is_list and isinstance(value, str) else value

    def compress(self, source: Source, target: Path) -> Outcome:
        """Write a variant of `source` to `target`: the same bytes for the same settings, inputs and versions.

        Raises InputError for a model that the method does not apply to.
        """
        raise NotImplementedError

    def warnings_about(self, source: Source, target: Path, facts: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ARG002 - of methods
        """Return warnings about the existing file `target` of this method on this machine; by default none.

        They are shown again when a file is reused, possibly on another machine than the one that wrote it. `facts` are
        those of its card.
        """
        return ()
