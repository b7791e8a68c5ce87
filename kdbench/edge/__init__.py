"""Measuring on devices without kdbench: bundles, the program that runs there, and the merging of its results.

`device/` and everything that it imports runs on the device, with numpy, onnxruntime and the standard library alone, on
Python 3.9: `bundles.closure` finds these files, and a bundle takes them along as they are. `bundles/` and `results/`
run on the host; `exchange/` has what both sides read. May import `measure` and everything below; `workflows` and `cli`
import it.
"""
