"""Function matching (Beyer et al. 2021, "Knowledge distillation: A good teacher is patient and consistent").

The student matches the teacher's function and sees no label. Both look at the very same crop, mixed up with another
image: set `data.augment.mixup = 1.0` and train for long.
"""

from typing import ClassVar

from pydantic import Field

from kdbench.distill.methods import METHODS
from kdbench.distill.methods.kd import Kd, KdOptions


class FunctionMatchingOptions(KdOptions):
    """The options of kd; the authors' configurations take temperatures of 1, 2, 5 or 10, by data set and length."""

    kd_weight: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=2.0, gt=0)


@METHODS.register("function_matching")
class FunctionMatching(Kd):
    """kd_weight · T² · KL(p_t^T ‖ p_s^T) alone, without labels; meant for mixed images and long trainings."""

    Options = FunctionMatchingOptions
    usual_ce_weight: ClassVar[float] = 0.0
