"""bare_openvino.py FILE INPUTS SECONDS: OpenVINO's Python API in float32: the median time of a call, and each class."""

import json
import statistics
import sys
import time

import numpy as np
import openvino

inputs, seconds = np.load(sys.argv[2]), float(sys.argv[3])
model = openvino.Core().read_model(sys.argv[1])
# As benchmark_app does: with an open batch, OpenVINO chooses other kernels, which round otherwise.
model.reshape([1, *inputs.shape[1:]])
how = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}
request = openvino.Core().compile_model(model, "CPU", how).create_infer_request()
samples = [openvino.Tensor(np.ascontiguousarray(one[None]), shared_memory=True) for one in inputs]
times: list[int] = []
end = time.perf_counter() + seconds
while time.perf_counter() < end:
    for sample in samples:
        begin = time.perf_counter_ns()
        request.infer(sample, share_outputs=True)
        times.append(time.perf_counter_ns() - begin)
classes = []
for sample in samples:
    request.infer(sample)
    classes.append(int(request.get_output_tensor().data.argmax()))
print(json.dumps({"p50_ns": statistics.median(times) if times else None, "classes": classes}))
