"""The way to a device: what a bundle holds, whether the device can run it, and how far its outputs may be off.

`results/` imports it, and so do `workflows` and `cli`; it imports `device/`, which names what a bundle asks for.
"""
