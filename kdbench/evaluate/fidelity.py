"""How closely a student follows its teacher: agreement, KL divergence (Stanton et al. 2021), ranks of classes, risks.

The empirical and the distilled risk are means over a sample of the loss l(y, f(x)) = -log p_s(y | x): at the label y,
or its expectation under class probabilities p(x) (Menon et al. 2021, "A Statistical Perspective on Distillation"). If
p(x) are the true probabilities, the distilled risk's variance is at most the empirical risk's, because Var[l(y, f(x))]
= Var[p(x)^T l(f(x))] + E[Var[l(y, f(x)) | x]] (Lemma 1 of Gupta et al., "Exploring Knowledge Distillation"). Here the
teacher's probabilities replace the true ones, so this order is likely but not certain.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.evaluate.gains import difference_in_points
from kdbench.evaluate.predictions import Analyses, Predictions, Std, first_reason, log_softmax
from kdbench.results.findings import Findings, estimated, estimated_pair
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, Measurement, Pair, measured, missing


def kl_divergences(log_t: NDArray[np.float64], log_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return KL(teacher || student) = sum_c p_t log(p_t / p_s) in nats, (N,), of log-probabilities (N, C)."""
    return np.asarray((np.exp(log_t) * (log_t - log_s)).sum(axis=1))


def standardized(logits: NDArray[np.float64], std: Std = "population") -> NDArray[np.float64]:
    """Return (z - mean) / (1e-7 + standard deviation) of each row of `logits` (N, C); equal logits become zeros.

    Sun et al. 2024, "Logit Standardization in Knowledge Distillation". Log-probabilities give the same result: they
    differ
    from the logits by a constant per row, which subtracting the mean removes.
    """
    centred = logits - logits.mean(axis=1, keepdims=True)
    deviations = logits.std(axis=1, ddof=1 if std == "unbiased" else 0, keepdims=True)
    return np.asarray(centred / (1e-7 + deviations))


def standardized_kl(
    teacher: NDArray[np.float64], student: NDArray[np.float64], std: Std = "population"
) -> NDArray[np.float64]:
    """Return KL(teacher || student) in nats, (N,), of the softmaxes of both logits (N, C) after standardization."""
    log_t, log_s = (log_softmax(standardized(logits, std)) for logits in (teacher, student))
    return kl_divergences(log_t, log_s)


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's rho of each row of two arrays (N, C), (N,): Pearson's correlation of their ranks.

    Ties get the average of their ranks. NaN where all values of a row are equal: they have no order.
    """
    ranks = [average_ranks(values) - (values.shape[1] + 1) / 2 for values in (first, second)]
    products = (ranks[0] * ranks[1]).sum(axis=1)
    scale = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    return np.asarray(np.divide(products, scale, out=np.full(len(products), np.nan), where=scale > 0))


def average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value in its row (N, C), from 1, as `scipy.stats.rankdata(values, axis=1)`.

    Ties get the average of their ranks. All ranks of a row with NaN are NaN.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=1)
    changes = ascending[:, 1:] != ascending[:, :-1]
    edge, places = np.ones((len(values), 1), dtype=bool), np.arange(values.shape[1])
    # The first and the last place of the run of equal values around each place.
    first = np.maximum.accumulate(np.where(np.hstack([edge, changes]), places, 0), axis=1)
    ends = np.where(np.hstack([changes, edge]), places, values.shape[1] - 1)
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, 1 + (first + last) / 2, axis=1)
    ranks[np.isnan(values).any(axis=1)] = np.nan
    return ranks


FIDELITIES = metrics_in("fidelity")


def fidelity_findings(
    teacher: Predictions, student: Predictions, axes: Axes | None = None, std: Std = "population"
) -> Findings:
    """Return the FIDELITIES of the student at `axes`; on the test set, without axes, its top-1 drop as well.

    KL is KL(teacher || student); standardized logits use the standard deviation `std`. Both models have the same
    classes.
    """
    assert teacher.of_same_classes(student)
    pairs = () if axes else (top1_drop(teacher, student),)
    teacher, student = teacher.without_absent(), student.without_absent()
    same = statistics.binomial_share(int((teacher.predicted == student.predicted).sum()), len(teacher.ranks))
    source = f"against {teacher.id}"
    agreement = estimated(student.id, "agreement", same, axes=axes, source=source)
    if reason := without_logarithms(teacher, student):
        others = (metric for metric in FIDELITIES if metric != "agreement")
        return Findings(
            (agreement, *(missing(student.id, metric, reason, axes=axes, source=source) for metric in others)), pairs
        )
    log_t, log_s = teacher.log_probabilities(), student.log_probabilities()
    kl = statistics.mean(kl_divergences(log_t, log_s))
    standardized = statistics.mean(standardized_kl(log_t, log_s, std))
    measurements = (
        agreement,
        estimated(student.id, "predictive_kl", kl, axes=axes, source=source),
        estimated(student.id, "standardized_kl", standardized, axes=axes, source=f"{source}, {std} standard deviation"),
        _correlation(student.id, spearman(log_t, log_s), axes, source),
    )
    return Findings(measurements, pairs)


def without_logarithms(*models: Predictions) -> str | None:
    """Return why the logarithms of the models' probabilities cannot be compared, if one of them has none."""
    return first_reason({model.id: model.without_logarithms for model in models})


def _correlation(student: str, rhos: NDArray[np.float64], axes: Axes | None, source: str) -> Measurement:
    """Return the mean of the rank correlations of the samples whose logits have an order."""
    ordered = rhos[~np.isnan(rhos)]
    if not len(ordered):
        reason = "the logits of every sample are all equal: they have no order"
        return missing(student, "logit_spearman", reason, status="invalid", axes=axes, source=source)
    return estimated(student, "logit_spearman", statistics.mean(ordered), axes=axes, source=source)


def top1_drop(teacher: Predictions, student: Predictions) -> Pair:
    """Return the teacher's top-1 minus the student's, in percentage points.

    Classes that the data does not have may differ between the models.
    """
    return estimated_pair(teacher.id, student.id, "top1_drop", difference_in_points(teacher, student, 1))


RISKS = metrics_in("risk")


def risk_measurements(teacher: Predictions, student: Predictions, labels: NDArray[np.int64]) -> tuple[Measurement, ...]:
    """Return the variances of the student's empirical risk, and of its risk under the teacher's probabilities."""
    if reason := without_logarithms(teacher, student):
        return tuple(missing(student.id, metric, reason) for metric in RISKS)
    variances = risk_variances(student.log_probabilities(), teacher.log_probabilities(), labels)
    source = f"probabilities of {teacher.id}"
    return tuple(
        measured(student.id, metric, variance, n=len(labels), source=source)
        for metric, variance in zip(RISKS, variances, strict=True)
    )


def empirical_risks(log_s: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the loss at the label, -log p_s(y), in nats, (N,), of log p (N, C)."""
    return -np.take_along_axis(log_s, labels[:, None], axis=1)[:, 0]


def distilled_risks(log_s: NDArray[np.float64], log_t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the expected loss under the teacher's probabilities, -sum_c p_t(c) log p_s(c), in nats, (N,)."""
    return np.asarray(-(np.exp(log_t) * log_s).sum(axis=1))


def risk_variances(
    log_s: NDArray[np.float64], log_t: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the variances of the empirical and the distilled risk of one sample, in nats².

    They are N times the variances of the means over N samples. Both are unbiased (divided by N - 1); NaN for a
    single sample.
    """
    if len(labels) < 2:
        return np.nan, np.nan
    return float(np.var(empirical_risks(log_s, labels), ddof=1)), float(np.var(distilled_risks(log_s, log_t), ddof=1))


MISMATCHES = metrics_in("mismatches")


@dataclass(frozen=True, eq=False)
class Mismatches:
    """The samples on which the teacher and exactly one of two students are right.

    Ahad, "Knowledge Distillation Techniques: Analysis and Comparison", section 2: a student that is right may have a
    larger divergence from the teacher than one that is wrong, because its logits have another scale.

    `contested` are their positions (M,). `before` (M,) is True at a mismatch: the student that is right has the larger
    KL(teacher || student). `after` (M,) is the same for standardized logits. `fixed` and `made` are the
    positions of the mismatches that standardization resolves and introduces.
    """

    contested: NDArray[np.int64]
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]
    fixed: NDArray[np.int64]
    made: NDArray[np.int64]


def mismatches(
    teacher: NDArray[np.float64],
    students: tuple[NDArray[np.float64], NDArray[np.float64]],
    labels: NDArray[np.int64],
    std: Std = "population",
) -> Mismatches:
    """Return the mismatches of two students, from log p (N, C) of all three models and the labels (N,).

    Samples on which the teacher is wrong are left out: a student that is right should be far from such a teacher.
    """
    correct = [student.argmax(axis=1) == labels for student in students]
    contested = np.flatnonzero((correct[0] ^ correct[1]) & (teacher.argmax(axis=1) == labels))
    first_is_correct = correct[0][contested]
    t, first, second = (values[contested] for values in (teacher, *students))

    def against(kl_first: NDArray[np.float64], kl_second: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.where(first_is_correct, kl_first > kl_second, kl_second > kl_first)

    before = against(kl_divergences(t, first), kl_divergences(t, second))
    after = against(standardized_kl(t, first, std), standardized_kl(t, second, std))
    return Mismatches(contested, before, after, contested[before & ~after], contested[~before & after])


def mismatch_measurements(
    teacher: Predictions,
    students: tuple[Predictions, Predictions],
    labels: NDArray[np.int64],
    analyses: Analyses,
    axes: Axes | None = None,
) -> tuple[Measurement, ...]:
    """Return the number of mismatches of a student and an independently trained one, the two `students` of a teacher.

    The measurements belong to the first student; their axis `beside` is the id of the other, their `n` the number of
    contested samples. On the test set, without `axes`, the first mismatch that standardization resolves is added as an
    example for both students, with the axis `sample`, its position from 0.
    """
    student, other = students
    where = {**(axes or {}), "beside": other.id}
    if reason := without_logarithms(teacher, *students):
        return tuple(missing(student.id, metric, reason, axes=where) for metric in MISMATCHES)
    log_t, *logs = (predictions.log_probabilities() for predictions in (teacher, *students))
    result = mismatches(log_t, (logs[0], logs[1]), labels, analyses.std)
    counts = (int(result.before.sum()), len(result.fixed), len(result.made))
    source = f"against {teacher.id}, {analyses.std} standard deviation"
    measurements = [
        measured(student.id, metric, count, axes=where, n=len(result.contested), source=source)
        for metric, count in zip(MISMATCHES, counts, strict=True)
    ]
    if not axes and len(result.fixed):
        sample = int(result.fixed[0])
        label_axes: Axes = {"sample": sample, "class": analyses.class_axis(int(labels[sample]))}
        for (model, beside), log_s in zip(((student, other), (other, student)), logs, strict=True):
            example_axes = {**label_axes, "beside": beside.id}
            one_t, one_s = log_t[[sample]], log_s[[sample]]
            values = {
                "predictive_kl": kl_divergences(one_t, one_s)[0],
                "standardized_kl": standardized_kl(one_t, one_s, analyses.std)[0],
                "logit_spearman": spearman(one_t, one_s)[0],
                "top1": one_s.argmax() == labels[sample],
            }
            measurements += [measured(model.id, m, float(v), axes=example_axes, n=1) for m, v in values.items()]
    return tuple(measurements)
