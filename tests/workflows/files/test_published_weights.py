"""The preprocessing of torchvision's published weights is what their own transforms do."""

import numpy as np
import pytest
from PIL import Image

from kdbench.data.reading.images import fitted
from kdbench.errors import InputError
from kdbench.results.preprocessing import InputSpec, geometry_of, merged
from kdbench.workflows.files.published_weights import published, with_published


@pytest.mark.parametrize("name", ["ResNet18_Weights.IMAGENET1K_V1", "ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1"])
@pytest.mark.parametrize("size", [(500, 375), (333, 480)])
def test_pixels_are_those_of_torchvisions_transforms(name, size):
    from torchvision.models import get_weight

    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    expected = get_weight(name).transforms()(image).numpy()
    spec = published(name)
    fit = np.asarray(fitted(image, geometry_of(spec, (None, None), 3, "m"))).transpose(2, 0, 1)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    np.testing.assert_allclose((fit / np.float32(255) - mean) / std, expected, atol=1e-6)
    assert len(spec.labels) == 1000


def test_a_source_that_names_weights_overrides_them():
    named = InputSpec(torchvision="ResNet18_Weights.IMAGENET1K_V1", mean=(0.5,))
    spec, sources = merged(list(with_published([("student.toml", named)])))
    assert (spec.mean, spec.resize, spec.crop) == ((0.5,), 256, (224, 224))
    assert sources["std"] == "torchvision (ResNet18_Weights.IMAGENET1K_V1)"


@pytest.mark.parametrize("name", ["ResNet18_Weights.V9", "nothing", "FCN_ResNet50_Weights.DEFAULT"])
def test_weights_of_no_classifier_are_refused(name):
    with pytest.raises(InputError, match="weights"):
        published(name)
