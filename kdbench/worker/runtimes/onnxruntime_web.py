"""ONNX files in onnxruntime-web, in a page of headless Chromium with the isolation headers."""

from kdbench.worker.web.models import runtime_in

RUNTIME = runtime_in("chromium", "onnxruntime-web")
