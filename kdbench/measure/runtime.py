"""The onnxruntime target under its former name."""

from kdbench.measure.runtimes import ProviderError, describe
from kdbench.measure.runtimes.onnxruntime import FAULTS, Target

__all__ = ["FAULTS", "ProviderError", "Target", "describe"]
