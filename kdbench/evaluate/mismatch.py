"""Where the divergence from the teacher ranks two students against what is right, and what standardization changes.

The analysis of Ahad, "Knowledge Distillation Techniques: Analysis and Comparison", section 2: a student that is right
may have the larger divergence from the teacher than one that is wrong, because its logits are of another size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate.divergence import kl_divergences
from kdbench.evaluate.standardization import Std, standardized_kl


@dataclass(frozen=True, eq=False)
class Mismatches:
    """The samples that tell two students apart: the teacher and just one of the students name the label.

    `contested` are their positions (M,); `before` (M,) says where the student that is right has the larger
    KL(teacher || student), a mismatch; `after` the same of standardized logits.
    """

    contested: NDArray[np.int64]
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]

    @property
    def fixed(self) -> NDArray[np.int64]:
        """The positions of mismatches that standardization ranks as they should be."""
        return self.contested[self.before & ~self.after]

    @property
    def made(self) -> NDArray[np.int64]:
        """The positions that standardization makes mismatches of."""
        return self.contested[~self.before & self.after]


def mismatches(
    teacher: NDArray[np.float64],
    students: tuple[NDArray[np.float64], NDArray[np.float64]],
    labels: NDArray[np.int64],
    std: Std = "population",
) -> Mismatches:
    """Return the mismatches of two students, from log p (N, C) of all three models and the labels (N,).

    Samples on which the teacher is wrong are left out: there a student that is right ought to be far from it.
    """
    right = [student.argmax(axis=1) == labels for student in students]
    contested = np.flatnonzero((right[0] ^ right[1]) & (teacher.argmax(axis=1) == labels))
    first_is_right = right[0][contested]
    t, one, other = (values[contested] for values in (teacher, *students))

    def against(kl_one: NDArray[np.float64], kl_other: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.where(first_is_right, kl_one > kl_other, kl_other > kl_one)

    return Mismatches(
        contested,
        before=against(kl_divergences(t, one), kl_divergences(t, other)),
        after=against(standardized_kl(t, one, std), standardized_kl(t, other, std)),
    )
