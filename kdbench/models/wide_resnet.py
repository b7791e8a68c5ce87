"""Wide ResNets: Zagoruyko & Komodakis 2016 (arXiv:1605.07146), pre-activation, depth 6n+4, `wrn40-2`.

The first number is the depth, the second the widening factor. With 10 classes: wrn40-2 has 2 243 546 parameters
and wrn28-10 has 36 479 194 (2.2 M and 36.5 M in the paper's tables 4 and 5).
"""

import re

from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.models import MODELS, InputShape, PositiveInt, Share
from kdbench.models.staged import Staged

NAME = r"wrn[-_]?(\d{1,4})[-_](\d{1,3})"


class PreActivationBlock(nn.Module):
    """Batch norm and ReLU before each 3×3 convolution; a 1×1 projection where the width changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.convs = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.project = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        activated = self.activate(x)
        y: Tensor = self.convs(activated) + (x if self.project is None else self.project(activated))
        return y


@MODELS.register_pattern(NAME, example="wrn40-2")
def wide_resnet(name: str, input_shape: InputShape, classes: PositiveInt, /, *, dropout: Share = 0.0) -> nn.Module:
    """Build the Wide ResNet with the depth and widening factor in the name; `dropout` is between convolutions."""
    match = re.fullmatch(NAME, name)
    assert match, f"{name!r} does not match the pattern"
    depth, factor = int(match[1]), int(match[2])
    per_stage, rest = divmod(depth - 4, 6)
    if rest or per_stage < 1 or factor < 1:
        nearest = 6 * max(1, round((depth - 4) / 6)) + 4
        raise InputError(
            f"a Wide ResNet has 6n+4 layers and a factor of 1 or more, not {depth} and {factor}",
            f"the nearest is wrn{nearest}-{max(1, factor)}",
        )
    stages, inputs = [], 16
    for outputs, stride in ((16 * factor, 1), (32 * factor, 2), (64 * factor, 2)):
        blocks = [PreActivationBlock(inputs, outputs, stride, dropout)]
        blocks += [PreActivationBlock(outputs, outputs, 1, dropout) for _ in range(per_stage - 1)]
        stages.append(nn.Sequential(*blocks))
        inputs = outputs
    head = nn.Sequential(
        nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)
    )
    return Staged(nn.Conv2d(input_shape[0], 16, 3, padding=1, bias=False), stages, head)


# Those compared in the distillation literature.
for _known in ("wrn16-1", "wrn16-2", "wrn28-10", "wrn40-1"):
    MODELS.register(_known)(wide_resnet)
