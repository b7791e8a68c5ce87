"""Compare two records: match their models, align their axes, compute each change, and judge it.

Files are in that order: matching, strategies, deltas, thresholds; `records` puts them together. The
folder may import what `judge` may; `workflows`, `testing` and `cli` import it.
"""
