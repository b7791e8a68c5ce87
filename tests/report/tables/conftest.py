"""Records with metrics of predictions beyond accuracy."""

import pytest

from kdbench.results.records import Interval, measured

TRAIN = {"part": "train"}
STUDENTS = ("student-alone", "student-kd", "student-hint")


def measurements_of(name):
    """Return what the analyses find of one model of the sample."""
    number = ("teacher", *STUDENTS).index(name)
    ms = [measured(name, "class_top1", (97 - 3 * number * (k == "b")) / 100, axes={"class": k}, n=36) for k in "ab"]
    ms += [
        measured(name, "ece", 0.01 * (number + 1), n=360),
        measured(name, "ece", 0.004, axes=TRAIN, n=1200),
        measured(name, "loss", 0.01, axes=TRAIN, n=1200),
        measured(name, "top1", 0.9975, axes=TRAIN, interval=Interval(low=0.992, high=0.999), n=1200),
        measured(name, "noise_memorised", 0.25, n=500),
        measured(name, "noise_corrected", 0.6, interval=Interval(low=0.55, high=0.65), n=500),
    ]
    if name == "teacher":
        return [m for m in ms if not m.metric.startswith("noise")]
    ms += [
        measured(name, "agreement", 0.9, axes=TRAIN, interval=Interval(low=0.88, high=0.93), n=1200),
        measured(name, "predictive_kl", 0.02, axes=TRAIN, n=1200),
        measured(name, "standardized_kl", 0.07, n=360),
        measured(name, "logit_spearman", 0.7 + 0.01 * number, n=360),
        measured(name, "empirical_risk_variance", 0.5, n=360),
        measured(name, "distilled_risk_variance", 0.4, n=360),
    ]
    if name == "student-kd":
        for axes, counts in (({}, (12, 4, 1)), (TRAIN, (31, 2, 0))):
            where = {**axes, "beside": "student-alone"}
            for metric, count in zip(("mismatches", "mismatches_fixed", "mismatches_made"), counts, strict=True):
                ms.append(measured(name, metric, count, axes=where, n=90))
    other = {"student-kd": "student-alone", "student-alone": "student-kd"}.get(name)
    if other:
        where = {"sample": 17, "class": "a", "beside": other}
        values = (0.7206, 0.4629, 0.5695, 0) if name == "student-kd" else (0.9, 0.336, 0.7063, 1)
        metrics = ("predictive_kl", "standardized_kl", "logit_spearman", "top1")
        ms += [measured(name, metric, v, axes=where, n=1) for metric, v in zip(metrics, values, strict=True)]
    return ms


@pytest.fixture
def analysed(make_record):
    base = make_record()
    more = [m for card in base.models for m in measurements_of(card.id)]
    return make_record(measurements=(*base.measurements, *more))


@pytest.fixture
def hundred(make_record):
    """The sample with a hundred classes: the students lose on the even, gain on the odd ones."""
    base = make_record()
    ms = []
    for place, card in enumerate(base.models):
        for k in range(100):
            share = 0.4 + 0.004 * k + (0.0005 * place * k * (-1) ** (k + 1))
            ms.append(measured(card.id, "class_top1", share, axes={"class": f"class{k}"}, n=100))
    return make_record(measurements=(*base.measurements, *ms))
