"""Criteria of targets for the Raspberry Pi 5, and what a verdict says of them."""

from kdbench.results.records import Environment

SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}
ACCURATE = {"metric": "top1", "max_drop_vs_teacher": "1 point"}
FAST = {"metric": "latency_p50_ns", "max": "20 ms"}
LAPTOP = Environment(host={"cpu": "Some laptop"}, libraries={})


def criteria(verdict, model="student"):
    """Return a model's criteria but the device's."""
    (verdict_of_model,) = (candidate for candidate in verdict.models if candidate.model == model)
    return [criterion for criterion in verdict_of_model.criteria if criterion.rule != "device"]


def device(verdict):
    return next(criterion for criterion in verdict.models[0].criteria if criterion.rule == "device")


def replaced(record, model, metric, *measurements):
    """Return the record with these findings in the place of the model's at the metric."""
    kept = [m for m in record.measurements if (m.model, m.metric) != (model, metric)]
    return record.model_copy(update={"measurements": (*kept, *measurements)})
