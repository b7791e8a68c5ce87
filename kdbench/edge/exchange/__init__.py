"""What the host and the device both read: the plan of a bundle, archives, parity and the phases of a sustained load.

It runs on both, so it imports the standard library, numpy, `errors`, `worker.jobs` and `results.samples` alone.
"""
