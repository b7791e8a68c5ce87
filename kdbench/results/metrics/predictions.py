"""Metrics of a model's outputs: accuracy, calibration, fidelity to the teacher, risk, label noise, errors, ONNX parity.

Errors are a regression's, in the unit of its targets; over several components of a target they are means.
"""

import math
from functools import partial

from kdbench import units
from kdbench.results.metrics.metric import Metric

_Scored = partial(Metric, scored=True)
_Share = partial(_Scored, unit="share", higher_is_better=True, text=units.share)
_Fidelity = partial(_Scored, text=units.number, group="fidelity")
_Divergence = partial(_Fidelity, unit="nats", higher_is_better=False)
_Risk = partial(_Scored, unit="nats²", higher_is_better=False, text=units.number, group="risk")
_Noise = partial(_Scored, unit="share", text=units.share, group="label noise")
_Error = partial(_Scored, higher_is_better=False, text=units.error)
_Squared = partial(_Error, unit="target²")
_OnDevice = partial(Metric, group="device", hardware_dependent=True)
_Gain = partial(_Scored, unit="points", higher_is_better=True, text=units.points, group="gain")
_Mismatches = partial(_Scored, unit="samples", text=units.integer, group="mismatches")

# fmt: off
PREDICTIONS = (
    _Share("top1", "Top-1", group="accuracy", versus_teacher="drop",
        formula="share of samples whose largest logit is the label's"),
    _Share("top5", "Top-5", group="accuracy", versus_teacher="drop",
        formula="share of samples whose label is among the five largest logits"),
    _Scored("loss", "Loss", "nats", False, "mean of -log softmax(logits)[label]", units.number, group="accuracy"),
    _Share("agreement", "Agreement", group="fidelity",
        formula="share of samples on which student and teacher rank the same class first"),
    _Divergence("predictive_kl", "KL to teacher",
        formula="mean over samples of sum_c p_t log(p_t / p_s), temperature 1"),
    _Divergence("standardized_kl", "KL, standardized",
        formula="predictive_kl of standardized logits, (z - mean) / standard deviation of each sample's own"),
    _Fidelity("logit_spearman", "Rank correlation", unit="1", higher_is_better=True, limits=(-1.0, 1.0),
        formula="mean over samples of Spearman's rho between the logits of student and teacher, ties by average rank"),
    _Scored("ece", "ECE", "share", False, text=units.share, group="calibration",
        formula="sum over 15 equal bins of the largest probability: share of samples in it x |accuracy - mean "
        "probability|"),
    _Share("answers_changed", "Changed answers", group="runtimes", higher_is_better=False,
        formula="share of samples whose predicted class differs from that in onnxruntime"),
    _Share("balanced_accuracy", "Balanced accuracy", group="classes", versus_teacher="drop",
        formula="mean over the occurring classes of top1 among the samples of the class"),
    _Share("class_top1", "Class top-1", group="classes", versus_teacher="drop",
        formula="top1 among the samples of one class"),
    _Risk("empirical_risk_variance", "Empirical risk", formula="variance over samples of -log softmax(logits)[label]"),
    _Risk("distilled_risk_variance", "Distilled risk",
        formula="variance over samples of -sum_c p_t log p_s: the expected loss under the teacher's probabilities"),
    _Noise("noise_corrected", "Corrected", higher_is_better=True,
        formula="share of the training images with a changed label that are predicted as their true class"),
    _Noise("noise_memorised", "Memorised", higher_is_better=False,
        formula="share of the training images with a changed label that are predicted as the wrong label"),
    _Mismatches("mismatches", "Mismatches", higher_is_better=False,
        formula="samples on which the teacher and exactly one of two students predict the label, and that student has "
        "the larger KL"),
    _Mismatches("mismatches_fixed", "Fixed", higher_is_better=True,
        formula="mismatches that standardizing the logits resolves"),
    _Mismatches("mismatches_made", "Made", higher_is_better=False,
        formula="samples that are mismatches only with standardized logits"),
    _Gain("top1_gain", "Top-1 gain",
        formula="top1 - top1 of the model `beside`, in percentage points, on the same samples"),
    _Gain("top5_gain", "Top-5 gain",
        formula="top5 - top5 of the model `beside`, in percentage points, on the same samples"),
    _Squared("mse", "MSE", group="errors", formula="mean over samples of (prediction - target)²"),
    _Error("rmse", "RMSE", "target", group="errors", versus_teacher="ratio", formula="square root of mse"),
    _Error("mae", "MAE", "target", group="errors", formula="mean over samples of |prediction - target|"),
    _Scored("r2", "R²", "1", True, text=units.number, group="errors", limits=(-math.inf, 1.0),
        formula="1 - mse / variance of the targets, the mean over their components"),
    _Error("target_rmse", "RMSE of a target", "target", group="target errors",
        formula="square root of the mean over samples of (prediction - target)², of one component of the target"),
    _Error("target_mae", "MAE of a target", "target", group="target errors",
        formula="mean over samples of |prediction - target|, of one component of the target"),
    _Scored("target_r2", "R² of a target", "1", True, text=units.number, group="target errors", limits=(-math.inf, 1.0),
        formula="1 - mean squared error / variance, of one component of the target"),
    _Squared("teacher_mse", "MSE to teacher", group="teacher errors",
        formula="mean over samples of (prediction - teacher's prediction)²"),
    _Squared("closed_form_mse", "MSE, closed form", group="closed form",
        formula="mse of the least-squares solution of the training's objective, on the same test samples"),
    _Squared("expected_mse", "MSE, expected", group="closed form",
        formula="closed_form_mse in expectation over the noise on the training targets"),
    Metric("parity_max_abs", "ONNX parity", "logits", False, text=units.number, group="parity", repeatability=0,
        formula="max |ONNX logit - torch logit| over real inputs"),
    _OnDevice("device_max_abs", "Deviation on the device", "logits", False, text=units.number, repeatability=0,
        formula="max |output on the device - output on the host| over the bundle's samples"),
    _OnDevice("device_agreement", "Same answers on the device", "share", True, text=units.share,
        formula="share of the bundle's samples on which device and host rank the same class first"),
    _OnDevice("device_top1", "Top-1 on the device", "share", True, text=units.share,
        formula="share of the bundle's samples whose largest output on the device is the label's"),
)
# fmt: on
