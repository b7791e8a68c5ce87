"""Born-again networks (Furlanello et al. 2018, "Born Again Neural Networks"): a network teaches one of its own shape.

The term is plain distillation at temperature 1 beside the full cross-entropy (their BAN+L; BAN has `ce_weight` 0). What
is born again is the recipe's affair: `generations = 3` makes three students, each taught by the one before.
"""

from typing import ClassVar

from pydantic import Field

from kdbench.distill.methods import METHODS
from kdbench.distill.methods.kd import Kd, KdOptions


class BornAgainOptions(KdOptions):
    """The options of kd; weight and temperature are 1."""

    kd_weight: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=1.0, gt=0)


@METHODS.register("born_again")
class BornAgain(Kd):
    """kd_weight · KL(p_t ‖ p_s) of a teacher of the student's own shape, generation after generation."""

    Options = BornAgainOptions
    usual_ce_weight: ClassVar[float] = 1.0
