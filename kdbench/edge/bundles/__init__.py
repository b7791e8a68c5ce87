"""Bundles for devices: their content, whether the device can run it, and the tolerance of its outputs.

`results/` imports it, and so do `workflows` and `cli`; it imports `device/`, which names what a bundle asks for.
"""
