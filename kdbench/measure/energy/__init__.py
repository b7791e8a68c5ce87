"""Energy: cumulative counters, one file a source. No estimate is ever put in a missing counter's place."""

from kdbench.measure.energy.source import SOURCES, Available, Counter, Found, Unavailable, sources

__all__ = ["SOURCES", "Available", "Counter", "Found", "Unavailable", "sources"]
