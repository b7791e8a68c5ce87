"""The preprocessing and the classes of torchvision's published weights, by their name."""

from collections.abc import Iterable, Iterator

from kdbench import extras
from kdbench.errors import InputError
from kdbench.results.preprocessing import InputSpec

_EXAMPLE = "for example ResNet50_Weights.IMAGENET1K_V2"


def with_published(specs: Iterable[tuple[str, InputSpec]]) -> Iterator[tuple[str, InputSpec]]:
    """Yield each named source; after one that names torchvision's weights, yield the values of these weights.

    Raises InputError for weights that torchvision does not have, or that are not a classifier's.
    """
    for name, spec in specs:
        yield name, spec
        if spec.torchvision is not None:
            yield f"torchvision ({spec.torchvision})", published(spec.torchvision)


def published(name: str) -> InputSpec:
    """Return what torchvision's weights called `name`, such as ResNet18_Weights.IMAGENET1K_V1, were trained with."""
    extras.require("train", f"the preprocessing of {name}, which is torchvision's,")
    from torchvision.models import get_weight

    try:
        weights = get_weight(name)
    except (ValueError, KeyError, AttributeError):
        raise InputError(f"torchvision has no weights called {name!r}", _EXAMPLE) from None
    preset = weights.transforms()
    if not hasattr(preset, "crop_size"):
        raise InputError(f"{name} are not weights of an image classifier", _EXAMPLE)
    crop = tuple(preset.crop_size)
    return InputSpec(
        scale=255.0,
        channel_order="RGB",
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        resize=preset.resize_size[0],
        crop=crop * 2 if len(crop) == 1 else crop,
        interpolation=preset.interpolation.value,
        antialias=preset.antialias is not False,
        labels=tuple(weights.meta["categories"]),
    )
