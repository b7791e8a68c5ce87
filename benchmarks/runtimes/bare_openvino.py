"""bare_openvino.py FILE INPUTS SECONDS: OpenVINO's Python API in float32: the median time of a call, and each class.

It also prints the median of the times that the request reports of itself.
"""

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
own_ms: list[float] = []
end = time.perf_counter() + seconds
while time.perf_counter() < end:
    for sample in samples:
        begin = time.perf_counter_ns()
        request.infer(sample, share_outputs=True)
        times.append(time.perf_counter_ns() - begin)
        own_ms.append(request.latency)
classes = []
for sample in samples:
    request.infer(sample)
    classes.append(int(request.get_output_tensor().data.argmax()))
medians = {"p50_ns": statistics.median(times), "request_ns": statistics.median(own_ms) * 1e6} if times else {}
print(json.dumps({**medians, "classes": classes}))
