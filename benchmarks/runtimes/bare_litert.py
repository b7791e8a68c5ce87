"""bare_litert.py FILE INPUTS SECONDS: LiteRT's interpreter: the median time of a call, and each class."""

import json
import statistics
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

file, inputs, seconds = sys.argv[1], np.load(sys.argv[2]), float(sys.argv[3])
interpreter = Interpreter(file, num_threads=1)
interpreter.allocate_tensors()
(source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
if len(source["shape"]) == 4 and tuple(source["shape"][1:]) != inputs.shape[1:]:
    inputs = inputs.transpose(0, 2, 3, 1)  # channels last
if source["dtype"] != np.float32:
    scale, zero = source["quantization"]
    limits = np.iinfo(source["dtype"])
    inputs = np.clip(np.rint(inputs / scale) + zero, limits.min, limits.max).astype(source["dtype"])
samples = [np.ascontiguousarray(one[None]).reshape(source["shape"]) for one in inputs]
times: list[int] = []
end = time.perf_counter() + seconds
while time.perf_counter() < end:
    for sample in samples:
        begin = time.perf_counter_ns()
        interpreter.set_tensor(source["index"], sample)
        interpreter.invoke()
        times.append(time.perf_counter_ns() - begin)
classes = []
for sample in samples:
    interpreter.set_tensor(source["index"], sample)
    interpreter.invoke()
    classes.append(int(interpreter.get_tensor(target["index"]).argmax()))
print(json.dumps({"p50_ns": statistics.median(times) if times else None, "classes": classes}))
