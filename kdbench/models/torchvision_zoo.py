"""Any of torchvision's classifiers by name: `torchvision/efficientnet_b0`. New random weights, no download."""

from typing import Any

import torch
from torch import nn

from kdbench.errors import InputError
from kdbench.models import MODELS, InputShape, PositiveInt
from kdbench.models.feature_hooks import FeatureHooks, declare_stages
from kdbench.registry import suggestion

PREFIX = "torchvision/"

# The submodules in which torchvision keeps a trunk's blocks, if not in the network itself.
_TOKENS = "encoder.layers"  # of vision transformers
_TRUNKS = ("features", "layers", "blocks", "trunk_output", _TOKENS)


def _create(model: str, input_shape: InputShape, classes: int) -> nn.Module:
    from torchvision import models

    channels, height, width = input_shape
    options: dict[str, Any] = {}  # of some constructors, besides the class count
    if model in {"googlenet", "inception_v3"}:
        options = {"aux_logits": False, "init_weights": True}  # auxiliary heads would make the logits a tuple
    elif model.startswith("vit_"):
        options = {"image_size": height}  # a learned position per patch
    elif model.startswith("maxvit_"):
        options = {"input_size": (height, width)}
    network: nn.Module = models.get_model(model, weights=None, num_classes=classes, **options)
    if channels != 3:
        _replace_first_convolution(network, channels)
    return network


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    path, old = next((path, module) for path, module in network.named_modules() if isinstance(module, nn.Conv2d))
    assert old.groups == 1, f"{path} is not a plain first convolution"
    sizes: dict[str, Any] = {name: getattr(old, name) for name in ("kernel_size", "stride", "padding")}
    new = nn.Conv2d(channels, old.out_channels, **sizes, bias=old.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule(path, new)


def _image_stages(network: nn.Module, input_shape: InputShape) -> tuple[str, ...]:
    """Return the paths of the blocks that output feature maps (rank 4), or tokens in a vision transformer.

    In a trunk of single layers, such as VGG's, a block ends with max pooling. Raises the errors of the forward pass.
    """
    trunk = next((name for name in _TRUNKS if any(path == name for path, _ in network.named_modules())), "")
    prefix = f"{trunk}." if trunk else ""
    children = {prefix + name: child for name, child in network.get_submodule(trunk).named_children()}
    state = {name: tensor.to("meta") for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    with FeatureHooks(network, children) as hooks:
        try:
            torch.func.functional_call(network.eval(), state, torch.empty(1, *input_shape, device="meta"))
        finally:
            network.train()
    # In calling order; a layer may output something other than a tensor.
    rank = 3 if trunk == _TOKENS else 4
    maps = [name for name, output in hooks.features.items() if getattr(output, "ndim", 0) == rank]
    composed = tuple(name for name in maps if next(children[name].children(), None) is not None)
    return composed or tuple(name for name in maps if isinstance(children[name], nn.MaxPool2d))


@MODELS.register_pattern(rf"{PREFIX}.+", example=f"{PREFIX}mobilenet_v3_small")
def torchvision_model(name: str, input_shape: InputShape, classes: PositiveInt, /) -> nn.Module:
    """Build the torchvision classifier after the slash; `stages` are its blocks that output feature maps."""
    from torchvision import models

    model = name.removeprefix(PREFIX)
    known = models.list_models(module=models)
    if model not in known:
        raise InputError(f"torchvision has no classifier {model!r}", suggestion(model, known, prefix=PREFIX))
    try:
        network = _create(model, input_shape, classes)
        stages = _image_stages(network, input_shape)
    except (RuntimeError, ValueError, AssertionError) as error:
        shape = "x".join(str(size) for size in input_shape)
        raise InputError(f"{name} cannot take inputs of {shape}: {error}", "give larger or other images") from error
    declare_stages(network, stages)
    return network


@MODELS.register("mobilenet_v3_small")
def mobilenet_v3_small(_name: str, input_shape: InputShape, classes: PositiveInt, /) -> nn.Module:
    """Build torchvision's MobileNetV3-small: Howard et al. 2019 (arXiv:1905.02244)."""
    return torchvision_model(f"{PREFIX}mobilenet_v3_small", input_shape, classes)
