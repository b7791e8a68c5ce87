"""A training as a tracker sees it."""

from kdbench.distill.trackers import TRACKERS


def track_training(name, model, curve, start=0, *, results=None, complete=True):
    """Let the tracker `name` follow a training of `model` from its epoch `start`, the first of an interrupted one."""
    tracker = TRACKERS.get(name)(model)
    tracker.begin(curve[:start])
    for epoch in range(start + 1, len(curve) + 1):
        tracker.extend(curve[:epoch])
    if results is not None:
        tracker.results(results)
    tracker.close(complete=complete)
