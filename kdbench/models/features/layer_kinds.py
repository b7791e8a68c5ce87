"""The channel axis of layers of known types: the second as of convolutions, or the last as of LayerNorm."""

from torch import Tensor, nn
from torch.nn.modules import batchnorm, conv, pooling

# torch has no public names for the bases.
_SECOND = (
    conv._ConvNd,  # noqa: SLF001
    batchnorm._NormBase,  # noqa: SLF001
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.Upsample,
    nn.PixelShuffle,
    pooling._MaxPoolNd,  # noqa: SLF001
    pooling._AvgPoolNd,  # noqa: SLF001
    pooling._AdaptiveAvgPoolNd,  # noqa: SLF001
    pooling._AdaptiveMaxPoolNd,  # noqa: SLF001
)
_LAST = (
    nn.RMSNorm,
    nn.Embedding,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
    nn.TransformerEncoder,
)
# By name, because torchvision and timm load slowly, and timm may be absent: their blocks work on (B, H, W, C).
_SWIN_BLOCKS = {
    "torchvision.models.swin_transformer": {
        "SwinTransformerBlock",
        "SwinTransformerBlockV2",
        "PatchMerging",
        "PatchMergingV2",
    },
    "timm.models.swin_transformer": {"SwinTransformerBlock", "SwinTransformerStage", "PatchMerging"},
    "timm.models.swin_transformer_v2": {"SwinTransformerV2Block", "SwinTransformerV2Stage", "PatchMerging"},
}
_ELEMENTWISE_BY_NAME = {"StochasticDepth", "DropPath", "LayerScale", "Identity"}
_ELEMENTWISE_OF = {"torch.nn.modules.activation", "torch.nn.modules.dropout"}


def channel_axis(layer: nn.Module, tensor: Tensor, *, sure: bool) -> int | None:
    """Return the axis of the channels of `tensor`, an input or output of `layer`; None if its type does not define it.

    A linear layer works on the last axis, which usually but not always has the channels: it counts unless `sure`.
    """
    last = tensor.dim() - 1
    name = type(layer).__name__
    if isinstance(layer, nn.LayerNorm):
        if "2d" in name.lower():  # torchvision and timm: over the channels of (B, C, H, W)
            return 1
        return last if len(layer.normalized_shape) == 1 else None
    if isinstance(layer, _SECOND):
        return 1 if tensor.dim() >= 3 else None
    if isinstance(layer, _LAST) or (name in _SWIN_BLOCKS.get(type(layer).__module__, ()) and tensor.dim() == 4):
        return last if tensor.is_floating_point() else None
    return last if isinstance(layer, nn.Linear) and not sure else None


def is_elementwise(layer: nn.Module) -> bool:
    """Return whether a layer works element by element, so that its output has the axes of its input."""
    if isinstance(layer, nn.MultiheadAttention):
        return False
    return type(layer).__module__ in _ELEMENTWISE_OF or type(layer).__name__ in _ELEMENTWISE_BY_NAME
