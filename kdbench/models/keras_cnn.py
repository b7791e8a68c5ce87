"""The two networks of the Keras tutorial on knowledge distillation (keras.io/examples/vision/knowledge_distillation).

Convolution, LeakyReLU 0.2, 2×2 max pooling with stride 1, convolution, dense; both convolutions 3×3 with stride 2
and TensorFlow's "same" padding, which adds an odd row and column after the image, while torch pads both sides.
At 1×28×28 with 10 classes the teacher has 1 433 610 parameters and the student 20 490.
"""

from torch import nn

from kdbench.models import MODELS, InputShape, PositiveInt
from kdbench.models.staged import Staged


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many cells TensorFlow's "same" padding adds before and after an axis of `size` cells.

    The output has ceil(size / stride) cells, and an odd cell is added after (tensorflow.org/api_docs/python/tf/nn,
    "Notes on padding").
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _same_conv(inputs: int, outputs: int, height: int, width: int) -> list[nn.Module]:
    top, bottom = same_padding(height, 3, 2)
    left, right = same_padding(width, 3, 2)
    return [nn.ZeroPad2d((left, right, top, bottom)), nn.Conv2d(inputs, outputs, 3, stride=2)]


def _network(input_shape: InputShape, classes: int, first: int, second: int) -> Staged:
    channels, height, width = input_shape
    halved = -(-height // 2), -(-width // 2)
    block1 = nn.Sequential(
        *_same_conv(channels, first, height, width),
        nn.LeakyReLU(0.2),
        # "same" max pooling ignores cells beyond the edge. Repeating the edge is equivalent, and needs no -inf.
        nn.ReplicationPad2d((0, 1, 0, 1)),
        nn.MaxPool2d(2, stride=1),
    )
    block2 = nn.Sequential(*_same_conv(first, second, *halved))
    cells = -(-halved[0] // 2) * -(-halved[1] // 2)
    network = Staged(nn.Identity(), [block1, block2], nn.Sequential(nn.Flatten(), nn.Linear(second * cells, classes)))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):  # Keras starts from Glorot's uniform distribution.
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


@MODELS.register("keras_teacher")
def keras_teacher(_name: str, input_shape: InputShape, classes: PositiveInt, /) -> nn.Module:
    """Build the tutorial's teacher: 256 and 512 channels."""
    return _network(input_shape, classes, 256, 512)


@MODELS.register("keras_student")
def keras_student(_name: str, input_shape: InputShape, classes: PositiveInt, /) -> nn.Module:
    """Build the tutorial's student: 16 and 32 channels."""
    return _network(input_shape, classes, 16, 32)
