"""Any of timm's image classifiers by name: `timm/resnet18`. New random weights, no download; the extra is `timm`."""

from typing import Any

from torch import nn

from kdbench import extras
from kdbench.errors import InputError, KdbenchError
from kdbench.models import MODELS, InputShape, PositiveInt
from kdbench.models.feature_hooks import declare_stages
from kdbench.plugins import describe_failure
from kdbench.registry import suggestion

PREFIX = "timm/"

# Options that load weights, and the hint for them.
_LOADING = {"pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}
_WEIGHTS = 'download a file of weights yourself, and add weights = "FILE.safetensors" next to the model'


@MODELS.register_pattern(rf"{PREFIX}.+", example=f"{PREFIX}resnet18")
def timm_model(name: str, input_shape: InputShape, classes: PositiveInt, /, **options: Any) -> nn.Module:
    """Build the timm classifier after the slash; further options are those of timm's `create_model`.

    Its `stages` are the modules that timm declares as its features. Raises InputError for options that would load
    weights, which a recipe names as `weights`.
    """
    extras.require("timm", f"the model {name!r}")
    import timm

    model = name.removeprefix(PREFIX)
    if not timm.is_model(model):
        known = timm.list_models()
        raise InputError(
            f"timm has no model {model!r}", suggestion(model, known, "see timm.list_models()", prefix=PREFIX)
        )
    if loading := sorted(_LOADING & options.keys()):
        raise InputError(f"model {name!r}: kdbench downloads no weights, so {loading[0]} is not an option", _WEIGHTS)
    channels, height, width = input_shape
    complete = {"in_chans": channels, "num_classes": classes, **options}
    try:
        network = _created(timm.create_model, model, {"img_size": (height, width)}, complete)
    except KdbenchError:
        raise
    except Exception as error:  # timm checks neither its options nor the size of images
        if options:
            message = f"{name} cannot be built with {', '.join(options)}: {describe_failure(error)}"
            raise InputError(
                message, "its options are those of timm.create_model; or the images are too small"
            ) from error
        shape = "x".join(str(size) for size in input_shape)
        raise InputError(f"{name} cannot take inputs of {shape}: {error}", "give larger or other images") from error
    declare_stages(network, _stages(network))
    return network


def _created(create: Any, model: str, size: dict[str, Any], options: dict[str, Any]) -> nn.Module:
    """Return the network, made for images of that `size` if it depends on their size."""
    if "img_size" in options:
        network: nn.Module = create(model, **options)
        return network
    try:
        network = create(model, **size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        network = create(model, **options)
    return network


def _stages(network: nn.Module) -> tuple[str, ...]:
    """Return the paths of the modules that output the network's features, in order; those of a stem are left out."""
    declared = getattr(network, "feature_info", None) or ()
    infos = declared if isinstance(declared, list) else getattr(declared, "info", ())
    modules = dict(network.named_modules())
    paths = dict.fromkeys(str(info.get("module", "")) for info in infos)
    behind_stem = [path for path in paths if path in modules and not path.startswith("stem")]
    composed = tuple(path for path in behind_stem if any(map(_has_weights, modules[path].children())))
    return composed or tuple(behind_stem)


def _has_weights(layer: nn.Module) -> bool:
    return next(layer.parameters(), None) is not None
