"""Latency and throughput: sessions that interleave models, their precision, and warnings about them.

The parts of the passes that time calls. May import `measure.runner`, `machine`, `statistics` and what `measure` may;
the passes import it.
"""
