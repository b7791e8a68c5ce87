"""Check that a network knows all token ids of the data: before anything trains."""

import torch
from torch import nn

from kdbench import models
from kdbench.data.dataset import Split
from kdbench.errors import InputError
from kdbench.modelfile.facts import ModelFacts
from kdbench.models.features.modes import evaluation_mode
from kdbench.plugins import describe_failure
from kdbench.recipe import Trained
from kdbench.workflows.study.run_data import RunData


def require_vocabulary(entry: Trained, run_data: RunData, facts: ModelFacts | None = None) -> None:
    """Raise InputError for token ids that the network, or the ONNX file with `facts`, does not take.

    Does nothing for inputs that are not tokens.
    """
    if run_data.dataset.layout != "tokens":
        return
    name = entry.model.name
    if facts is None and not models.takes_tokens(name):
        message = f"{entry.name}: model {name!r} takes numbers, but the inputs are token ids"
        raise InputError(message, 'use gru or lstm with a vocabulary; data.layout = "vectors" makes them numbers')
    needed = 1 + max(int(part.inputs.max()) for part in _parts(run_data))
    known = entry.model.options.get("vocabulary") if facts is None else facts.vocabulary
    if isinstance(known, int) and known < needed:
        message = f"{entry.name}: token ids go up to {needed - 1}, and vocabulary is {known}"
        hint = f"set vocabulary = {needed} or more" if facts is None else "choose the data that the file was made for"
        raise InputError(message, hint)


def require_all_tokens(network: nn.Module, run_data: RunData, name: str) -> None:
    """Raise InputError for a network that fails on the largest token id of any part; `name` is the model's."""
    largest = [part.inputs[part.inputs.max(axis=1).argmax()] for part in _parts(run_data)]
    sample = max(largest, key=lambda tokens: int(tokens.max()))
    try:
        with torch.no_grad(), evaluation_mode(network):
            network(torch.from_numpy(sample[None].copy()))
    except Exception as error:  # user code
        message = f"{name} fails on a sample with the token id {sample.max()}: {describe_failure(error)}"
        hint = f"let its embedding have {int(sample.max()) + 1} rows or more, one for each id from 0"
        raise InputError(message, hint) from error


def _parts(run_data: RunData) -> list[Split]:
    parts = (run_data.train, run_data.validation, run_data.dataset.test)
    return [part for part in parts if part is not None]
