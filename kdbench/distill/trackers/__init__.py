"""Experiment trackers by name, as a recipe's `track` lists them.

One file per tracker, which imports its library when it begins; each registers itself in `TRACKERS`. They share
`client_runs`. Imported by the workflows only.
"""

from kdbench.distill.tracker import Tracker
from kdbench.registry import Registry

TRACKERS: Registry[type[Tracker]] = Registry("tracker", package="kdbench.distill.trackers", group="kdbench.trackers")
