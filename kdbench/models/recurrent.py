"""Recurrent networks for sequences (T, F) and token ids (T): gated recurrent units and long short-term memory.

Cho et al. 2014 (arXiv:1406.1078) and Hochreiter & Schmidhuber 1997, as torch's `nn.GRU` and `nn.LSTM` define them. A
linear layer reads the last state of the top layer, of both directions if there are two. All steps are used: there is no
padding token.
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.models import MODELS, Count, PositiveInt, SampleShape, Share, Width
from kdbench.models.staged import Staged

_CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


class LastState(nn.Module):
    """Recurrent layers over sequences (B, T, F); the top layer's last states, (B, directions · hidden)."""

    def __init__(
        self, cell: Literal["gru", "lstm"], features: int, hidden: int, layers: int, dropout: float, *, both: bool
    ) -> None:
        super().__init__()
        self.recurrent = _CELLS[cell](
            features, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0, bidirectional=both
        )
        self.dropout = nn.Dropout(dropout)
        self._hidden = hidden

    def forward(self, sequences: Tensor) -> Tensor:
        """Return the state after the last step, and that of the backward direction after the first."""
        outputs: Tensor = self.recurrent(sequences)[0]
        last = outputs[:, -1]
        if self.recurrent.bidirectional:
            last = torch.cat([last[:, : self._hidden], outputs[:, 0, self._hidden :]], dim=1)
        return cast("Tensor", self.dropout(last))


@MODELS.register("gru")
@MODELS.register("lstm")
def recurrent(
    name: str,
    input_shape: SampleShape,
    classes: PositiveInt,
    /,
    *,
    hidden: Width = 64,
    layers: Count = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    vocabulary: PositiveInt | None = None,
    embedding: Width = 32,
) -> nn.Module:
    """Build `layers` recurrent layers of `hidden` units and a linear head; `dropout` applies after each layer.

    With a `vocabulary`, the number of different token ids, samples are token ids (T), which are embedded in vectors of
    `embedding` numbers; otherwise they are sequences (T, F).
    """
    features = embedding if vocabulary is not None else input_shape[-1]
    dimensions = 1 if vocabulary is not None else 2
    if len(input_shape) != dimensions:
        shape = "x".join(str(size) for size in input_shape)
        if vocabulary is not None:
            raise InputError(f"{name} with a vocabulary takes token ids (T), not samples of {shape}", "leave it out")
        hint = "token ids need the option vocabulary, their number; for vectors use the model dense, for images convnet"
        raise InputError(f"{name} takes sequences (T, F), not samples of {shape}", hint)
    stem = nn.Identity() if vocabulary is None else nn.Embedding(vocabulary, embedding)
    cell: Literal["gru", "lstm"] = "gru" if name == "gru" else "lstm"
    block = LastState(cell, features, hidden, layers, dropout, both=bidirectional)
    return Staged(stem, [block], nn.Linear(hidden * (2 if bidirectional else 1), classes))
