"""The layout in which an input takes images, sequences, vectors or tokens."""

import onnx
import pytest
from modelfile.graph_parts import IMAGES, graph_of, value

from kdbench.errors import InputError
from kdbench.modelfile.facts import inspect
from kdbench.modelfile.layouts import layout_for, require_type, sizes_in


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((2, 3, 4), "NCHW"), ((3, 4, 2), "NHWC"), ((24,), "flat"), (("c", "h", "w"), "NCHW"), (("h", "w", 2), "NHWC")],
)
def test_layout_is_what_the_images_fit(tiny, shape, layout):
    assert inspect(tiny(shape=shape), data_shape=IMAGES).layout == layout


def test_grey_images_fit_an_input_without_channels(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(graph_of([value("x", ["n", 28, 28])], [value("y", ["n", 28, 28])]), path)
    assert inspect(path, data_shape=(1, 28, 28)).layout == "other"
    with pytest.raises(InputError, match="28x28"):
        inspect(path, data_shape=(3, 28, 28))


@pytest.mark.parametrize(("shape", "layout"), [((3, 8, 8), "NCHW"), ((8, 8, 3), "NHWC"), ((24,), "flat")])
def test_layout_without_images_is_the_likely_one(tiny, shape, layout):
    assert inspect(tiny(shape=shape)).layout == layout


@pytest.mark.parametrize("shape", [(1, 24, 1), (24, 1), (1, 24), (1, 1, 24, 1), ("p", 1)])
def test_a_vector_among_axes_of_one_element_is_a_flat_image(tiny, shape):
    path = tiny(shape=shape)
    assert inspect(path, data_shape=IMAGES).layout == inspect(path).layout == "flat"
    assert inspect(path).sides is None  # nothing is resized to 24x1


def test_images_that_are_a_row_or_a_column_are_images(tiny):
    assert inspect(tiny(shape=(1, 1, 24)), data_shape=(1, 1, 24)).layout == "NCHW"


def test_images_that_do_not_fit_are_named_with_the_input(tiny):
    with pytest.raises(InputError, match=r"\?x2x3x4.*1x28x28"):
        inspect(tiny(), data_shape=(1, 28, 28))


@pytest.mark.parametrize(
    ("declared", "data", "layout", "fits"),
    [
        ((None, 20, 8), (20, 8), "sequences", True),
        ((None, None, 8), (20, 8), "sequences", True),
        ((None, 160), (20, 8), "sequences", True),
        ((None, 1, 9), (9,), "vectors", True),
        ((None, 8, 20), (20, 8), "sequences", False),
        ((None, 1, 1, 8), (9,), "vectors", False),
    ],
)
def test_samples_that_are_no_images_fit_as_they_are_or_flat(declared, data, layout, fits):
    if fits:
        assert layout_for(declared, data, "m", layout) == "array"
    else:
        with pytest.raises(InputError, match=layout):
            layout_for(declared, data, "m", layout)


@pytest.mark.parametrize(("dtype", "layout"), [("int64", "vectors"), ("float32", "tokens")])
def test_token_ids_and_numbers_are_not_mixed_up(dtype, layout):
    with pytest.raises(InputError, match=r"token ids"):
        require_type(dtype, layout, "m")
    require_type(dtype, "tokens" if dtype == "int64" else "NCHW", "m")


@pytest.mark.parametrize(("shape", "images", "colour"), [((None, 1, 8, 8), 3, "grey"), ((None, 192), 1, "RGB")])
def test_images_of_other_colours_can_be_converted(shape, images, colour):
    with pytest.raises(InputError) as caught:
        layout_for(shape, (images, 8, 8), "m")
    assert caught.value.hint == f"convert the images: --colour {colour}"


@pytest.mark.parametrize(
    ("declared", "layout", "sample", "sizes"),
    [
        ((3, None, None), "NCHW", (3, 6, 9), (3, 6, 9)),
        ((None, None, 3), "NHWC", (3, 6, 9), (6, 9, 3)),
        ((None, None, None), "NHWC", (3, 6, 9), (6, 9, 3)),
        ((None, None, 3), "NHWC", (6, 9, 3), (6, 9, 3)),  # of noise, in the model's layout
        ((None,), "flat", (1, 6, 9), (54,)),
        ((None, None), "other", (1, 6, 9), (6, 9)),
        ((None,), "array", (7,), (7,)),
        ((4, None), "array", (5, 7), (4, None)),
        ((3, 8, 8), "NCHW", (3, 6, 9), (3, 8, 8)),
    ],
)
def test_open_axes_have_the_sizes_of_the_samples(declared, layout, sample, sizes):
    assert sizes_in(declared, layout, sample) == sizes
