"""What a .tflite file says of its output: the step to which a file of integers rounds it.

The tables and their fields, by number, are those of TensorFlow Lite's `schema.fbs`.
"""

import struct
from pathlib import Path

from kdbench.modelfile.formats.flatbuffer import Buffer, Table, u32

_DEQUANTIZE, _RESHAPE = 6, 22
_MAX_CHAIN = 8


def output_step(path: Path) -> float:
    """Return the scale of the integers that the first output of a .tflite file is read from; 0 if it is not rounded.

    Converters leave the inputs and outputs of a file of integers in floats by default: the last operator dequantizes.
    """
    try:
        data = Buffer(path.read_bytes())
        model = Table(data, u32(data, 0))
        graph = model.tables(2)[0]
        tensors, operators = graph.tables(0), graph.tables(3)
        codes = [_code(entry) for entry in model.tables(1)]
        producers = {output: operator for operator in operators for output in operator.indices(2)}
        place = graph.indices(2)[0]
        for _ in range(_MAX_CHAIN):
            operator = producers.get(place)
            code = None if operator is None else codes[operator.integer(0, "<I")]
            if operator is None or code not in {_DEQUANTIZE, _RESHAPE}:
                return 0.0
            place = operator.indices(1)[0]
            if code == _DEQUANTIZE:
                quantization = tensors[place].table(4)
                scales = [] if quantization is None else quantization.numbers(2)
                return scales[0] if len(scales) == 1 else 0.0
    except (struct.error, IndexError, ValueError, OSError):
        pass
    return 0.0


def _code(entry: Table) -> int:
    """Return the code of an operator, which stands in a byte in files of earlier converters."""
    return max(entry.integer(0, "<b"), entry.integer(3, "<i"))
