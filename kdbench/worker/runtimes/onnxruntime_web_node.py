"""ONNX files in onnxruntime-web, in Node.js."""

from kdbench.worker.web.models import runtime_in

RUNTIME = runtime_in("node", "onnxruntime-web-node")
