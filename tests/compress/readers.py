"""Inputs for onnxruntime's own quantization."""

import numpy as np
from onnxruntime.quantization import CalibrationDataReader


class OneBatch(CalibrationDataReader):
    """Reads one batch, as the input of that name."""

    def __init__(self, inputs: np.ndarray, name: str = "x") -> None:
        self._batches, self._name = iter([inputs]), name

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}
