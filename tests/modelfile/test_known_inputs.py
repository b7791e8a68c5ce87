"""What lies beside and inside files as other programs write them, and pixels against their own transforms."""

import json
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from kdbench.errors import InputError
from kdbench.modelfile.facts import read_facts
from kdbench.modelfile.known_inputs import known_inputs
from kdbench.results.preprocessing import InputSpec, geometry_of, merged, preprocessing_of
from kdbench.user_input.options import INPUTS


@pytest.fixture
def model(tmp_path):
    """Write a classifier of open size with metadata; `sides` fix its height and width."""

    def make(sides=("h", "w"), **metadata):
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, *sides])
        answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
        nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]
        graph = helper.make_graph(nodes, "g", [image], [answer])
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        helper.set_model_props(proto, metadata)
        onnx.save(proto, tmp_path / "student.onnx")
        return tmp_path / "student.onnx"

    return make


def known(path):
    """Return what all sources know together, and where each key comes from."""
    return merged(list(known_inputs(path, read_facts(path))))


def geometry(path):
    facts = read_facts(path)
    return geometry_of(known(path)[0], facts.sides, facts.channels, path.name)


def test_a_sidecar_knows_every_key(model, tmp_path):
    path = model()
    (tmp_path / "labels.txt").write_text("cat\ndog\nfish\n")
    (tmp_path / "student.toml").write_text(
        'mean = [0.1, 0.2, 0.3]\nstd = [1, 1, 1]\nscale = 1\nchannel_order = "BGR"\nsize = [48, 64]\n'
        'resize_mode = "letterbox"\nfill = 0\ninterpolation = "bicubic"\nlabels = "labels.txt"\n'
    )
    spec, sources = known(path)
    assert (spec.mean, spec.scale, spec.channel_order) == ((0.1, 0.2, 0.3), 1.0, "BGR")
    assert (spec.size, spec.resize_mode, spec.fill, spec.interpolation) == ((48, 64), "letterbox", 0, "bicubic")
    assert spec.labels == ("cat", "dog", "fish")
    assert set(sources.values()) == {"student.toml"}


def test_a_recipe_beside_a_file_of_its_name_is_no_sidecar(model, tmp_path):
    path = model()
    (tmp_path / "student.toml").write_text(
        'name = "student"\n[data]\nname = "digits"\n[[teacher]]\nname = "t"\nmodel = "dense"\n'
    )
    assert known(path)[1] == {}


def test_one_number_serves_every_channel(model, tmp_path):
    path = model()
    (tmp_path / "student.toml").write_text("mean = 0.5\nstd = 0.25\n")
    assert (known(path)[0].mean, known(path)[0].std) == ((0.5,), (0.25,))


def test_one_file_may_know_all_models(model, tmp_path):
    path = model()
    (tmp_path / "models.toml").write_text("[student]\nscale = 1\n[teacher]\nmean = [0.5]\n")
    assert known(path) == (InputSpec(scale=1), {"scale": "models.toml"})


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("maen = [0.5]", "unknown key 'maen'", "mean"),
        ("std = [0]", "std", ""),
        ('channel_order = "GRB"', "channel_order", ""),
        ("mean = [", "not valid TOML", ""),
        ('labels = "nowhere.txt"', "nowhere.txt", ""),
    ],
)
def test_a_mistake_in_a_sidecar_is_named(model, tmp_path, text, message, hint):
    path = model()
    (tmp_path / "student.toml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        known(path)
    assert hint in caught.value.hint


def write(tmp_path, name, value):
    (tmp_path / name).write_text(json.dumps(value))


TIMM = {"input_size": [3, 224, 224], "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bicubic", "crop_pct": 0.95}


def test_timm(model, tmp_path):
    write(tmp_path, "config.json", {"architecture": "resnet50", "pretrained_cfg": TIMM})
    spec, sources = known(model())
    assert (spec.mean, spec.std, spec.crop_pct) == ((0.5,) * 3, (0.25,) * 3, 0.95)
    assert sources["mean"] == "config.json (timm)"
    form = geometry(model())
    assert (form.resize, form.crop, form.interpolation) == (int(224 / 0.95), (224, 224), "bicubic")


def test_files_of_the_same_names_about_other_things_know_nothing(model, tmp_path):
    path = model()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "lstm", "input_size": 32, "hidden_size": 64}))
    sound = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000, "do_normalize": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(sound))
    assert known(path) == (InputSpec(), {})


def test_timm_at_the_size_of_its_test(model, tmp_path):
    write(tmp_path, "config.json", {**TIMM, "test_input_size": [3, 288, 288], "test_crop_pct": 1.0})
    assert geometry(model((288, 288))).crop == (288, 288)
    assert geometry(model((224, 224))).resize == int(224 / 0.95)


def test_timm_squashed(model, tmp_path):
    write(tmp_path, "config.json", {**TIMM, "crop_pct": 1.0, "crop_mode": "squash"})
    form = geometry(model())
    assert (form.mode, form.resize, form.crop) == ("squash", (224, 224), None)


@pytest.mark.parametrize("sides", [("h", "w"), (64, 96)])
def test_what_kdbench_cannot_do_is_refused_with_a_hint_that_works(model, tmp_path, sides):
    write(tmp_path, "config.json", {**TIMM, "crop_mode": "border"})
    path, size = model(sides), (224, 224) if sides == ("h", "w") else sides
    with pytest.raises(InputError, match="border") as caught:
        known(path)
    shown = re.search(r'(resize_mode = "\w+") and (size = .+?) in (\S+) next to it', caught.value.hint)
    options = re.search(r"--resize-mode student=(\w+) --size student=(\S+)$", caught.value.hint)
    mode, text = options.groups()
    spec = InputSpec(resize_mode=mode, size=INPUTS["size"].parse(text))
    by_options = merged([("options", spec), *known_inputs(path, read_facts(path), spec.known)])[0]
    (tmp_path / shown[3]).write_text(f"{shown[1]}\n{shown[2]}\n")
    by_sidecar, sources = known(path)
    assert by_options == by_sidecar
    assert (by_sidecar.mean, sources["mean"], sources["size"]) == ((0.5,) * 3, "config.json (timm)", "student.toml")
    assert (geometry(path).mode, geometry(path).resize) == ("letterbox", size)


@pytest.mark.parametrize(
    ("processor", "mean"),
    [
        ({"do_normalize": False}, (1.0,)),
        ({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5] * 3}, (1.1, 1.2, 1.3)),
        ({"image_mean": 0.5, "image_std": 0.5}, (1.5,)),
    ],
)
def test_an_offset_of_pixels_is_part_of_the_mean(model, tmp_path, processor, mean):
    rescaled = {"rescale_factor": 1 / 127.5, "rescale_offset": True, "size": 8}
    write(tmp_path, "preprocessor_config.json", {**rescaled, **processor})
    spec, _ = known(model())
    assert spec.mean == pytest.approx(mean)
    pixel, std = 200, (spec.std or (1.0,))[0]
    theirs = (pixel * rescaled["rescale_factor"] - 1 - (mean[0] - 1)) / std  # rescale, subtract 1, normalize
    assert (pixel / spec.scale - spec.mean[0]) / std == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"size": {"height": 224, "width": 224}}, ("squash", (224, 224), None)),
        ({"size": 224}, ("squash", (224, 224), None)),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, ("shorter", 256, (224, 224))),
        ({"size": 256, "crop_size": 224, "do_center_crop": True}, ("shorter", 256, (224, 224))),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, ("shorter", 256, (224, 224))),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, ("squash", (384, 384), None)),
        ({"do_resize": False, "size": 224}, ("shorter", None, None)),
    ],
)
def test_hugging_face(model, tmp_path, processor, expected):
    common = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255, "resample": 3}
    write(tmp_path, "preprocessor_config.json", {**common, **processor})
    write(tmp_path, "config.json", {"id2label": {"0": "cat", "1": "dog", "2": "fish"}})
    spec, _ = known(model())
    assert (spec.mean, spec.scale, spec.labels) == ((0.5,) * 3, pytest.approx(255), ("cat", "dog", "fish"))
    form = geometry(model())
    assert (form.mode, form.resize, form.crop, form.interpolation) == (*expected, "bicubic")


def test_placeholders_are_no_names(model, tmp_path):
    write(tmp_path, "config.json", {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    assert known(model())[0].labels is None


def test_a_config_of_another_kind_knows_nothing(model, tmp_path):
    write(tmp_path, "config.json", ["anything"])
    assert known(model()) == (InputSpec(), {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("preprocessor_config.json", {"rescale_factor": [0.1]}),
        ("preprocessor_config.json", {"rescale_factor": 0}),
        ("preprocessor_config.json", {"resample": 99}),
        ("preprocessor_config.json", {"size": {"longest_edge": 8}}),
        ("preprocessor_config.json", {"size": {"shortest_edge": "8"}, "crop_pct": 0.9}),
        ("config.json", {"input_size": [3]}),
        ("config.json", {"pretrained_cfg": {"input_size": ["three", "four", "five"]}}),
    ],
)
def test_another_programs_file_in_no_known_form_is_named(model, tmp_path, name, content):
    path = model()
    write(tmp_path, name, content)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        known(path)


def test_ultralytics(model):
    path = model(names="{0: 'cat', 1: 'dog', 2: 'fish'}", imgsz="[64, 64]", task="classify", stride="1")
    spec, sources = known(path)
    assert (spec.labels, spec.scale, spec.mean) == (("cat", "dog", "fish"), 255.0, (0.0,))
    assert sources["size"] == "its metadata (Ultralytics)"
    assert (geometry(path).resize, geometry(path).crop) == (64, (64, 64))


def test_properties_of_images_in_the_file(model):
    path = model(**{"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"})
    spec, _ = known(path)
    assert (spec.channel_order, spec.scale, spec.mean, spec.std) == ("BGR", 1.0, (0.0,), (1.0,))


def test_a_range_of_pixels_with_a_mean_of_its_own(model):
    path = model(**{"Image.NominalPixelRange": "NominalRange_0_255", "mean": "[120, 110, 100]", "std": "60"})
    spec, sources = known(path)
    assert (spec.scale, spec.mean, spec.std) == (1.0, (120, 110, 100), (60,))
    assert sources["mean"] == "its metadata"


# As MobileViTImageProcessor of transformers 4 writes it: apple/mobilevit-small.
MOBILEVIT = {
    "crop_size": {"height": 256, "width": 256},
    "do_center_crop": True,
    "do_flip_channel_order": True,
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "MobileViTImageProcessor",
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 288},
}
PIXELS = {
    "as MobileViT": (lambda pixel: pixel / 255, MOBILEVIT),
    "unchanged": (lambda pixel: pixel, {"do_rescale": False, "do_normalize": False}),
    "from 0 to 1": (lambda pixel: pixel / 255, {"rescale_factor": 1 / 255, "do_normalize": False}),
    "from -1 to 1": (
        lambda pixel: pixel / 127.5 - 1,
        {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False},
    ),
}
RANGES = {"NominalRange_0_255": "unchanged", "Normalized_0_1": "from 0 to 1", "Normalized_1_1": "from -1 to 1"}


def fed(path, pixel):
    """Return what the model at `path` gets for a pixel, where options for all models name ImageNet's mean."""
    general = ("options", InputSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)))
    facts = read_facts(path)
    made = preprocessing_of(*merged([*known_inputs(path, facts), general]), facts.sides, facts.channels, path.name)
    return (pixel / made.scale - np.array(made.mean)) / np.array(made.std)


@pytest.mark.parametrize("how", PIXELS)
def test_a_mean_for_all_models_does_not_apply_to_a_processor_that_does_not_normalize(model, tmp_path, how):
    theirs, processor = PIXELS[how]
    write(tmp_path, "preprocessor_config.json", {"size": 8} | processor)
    assert fed(model(), 200) == pytest.approx([theirs(200)])


@pytest.mark.parametrize("pixel_range", RANGES)
def test_a_mean_for_all_models_does_not_apply_to_pixels_of_a_named_range(model, pixel_range):
    theirs, _ = PIXELS[RANGES[pixel_range]]
    path = model((8, 8), **{"Image.NominalPixelRange": pixel_range})
    assert fed(path, 200) == pytest.approx([theirs(200)])


def test_pixels_of_the_range_of_video(model):
    path = model((8, 8), **{"Image.NominalPixelRange": "NominalRange_16_235"})
    assert [float(fed(path, pixel)[0]) for pixel in (0, 85, 255)] == pytest.approx([16, 16 + 219 / 3, 235])


@pytest.mark.parametrize("source", ["timm", "Hugging Face", "Ultralytics"])
def test_options_for_models_of_keras_do_not_apply_to_what_pillow_reads(model, tmp_path, source):
    """Their transforms read RGB and divide by 255, whether or not their files say so."""
    metadata = {"names": "{0: 'cat', 1: 'dog', 2: 'fish'}", "imgsz": "[64, 64]"} if source == "Ultralytics" else {}
    if source == "timm":
        write(tmp_path, "config.json", TIMM)
    elif source == "Hugging Face":
        write(tmp_path, "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": 64})
    general = InputSpec(scale=1, channel_order="BGR", mean=(103.939, 116.779, 123.68), std=(1, 1, 1))
    path = model(**metadata)
    spec, _ = merged([*known_inputs(path, read_facts(path)), ("options", general)])
    mean, std = ((0.0,), (1.0,)) if source == "Ultralytics" else ((0.5,) * 3, (0.25,) * 3)
    assert (spec.scale, spec.channel_order, spec.mean, spec.std) == (pytest.approx(255), "RGB", mean, std)


def test_plain_properties(model):
    spec, _ = known(model(mean="[0.4, 0.5, 0.6]", std="0.25", classes="cat, dog, fish"))
    assert (spec.mean, spec.std, spec.labels) == ((0.4, 0.5, 0.6), (0.25,), ("cat", "dog", "fish"))


@pytest.mark.parametrize("count", ["3", "3.0", "ImageNet", "null", "[]"])
def test_a_property_that_lists_no_names_gives_no_labels(model, count):
    """Such as the number of classes, beside which the names may stand in another property."""
    assert known(model(classes=count, mean="0.5"))[0].labels is None
    assert known(model(classes=count, labels="[3, 5, 8]"))[0].labels == ("3", "5", "8")


def test_the_most_specific_source_wins_and_geometry_stays_together():
    first, second = InputSpec(size=(64, 64), mean=(0.5,)), InputSpec(crop_pct=0.9, mean=(0.1,), std=(0.2,))
    spec, sources = merged([("first", first), ("second", second)])
    assert (spec.size, spec.crop_pct, spec.mean, spec.std) == ((64, 64), None, (0.5,), (0.2,))
    assert sources == {"size": "first", "mean": "first", "std": "second"}
    np.testing.assert_equal(merged([])[0].known, {})


@pytest.mark.parametrize(
    ("processor", "resize", "crop"),
    [
        ({"image_processor_type": "DeiTImageProcessor", "size": 256, "crop_size": 224}, (256, 256), (224, 224)),
        ({"size": {"height": 256, "width": 256}, "crop_size": {"height": 224, "width": 224}}, (256, 256), (224, 224)),
        ({"image_processor_type": "LevitImageProcessor", "size": 224, "crop_size": 224}, 256, (224, 224)),
        ({"do_resize": False, "crop_size": 224}, None, (224, 224)),
    ],
)
def test_hugging_faces_squares_and_crops(model, tmp_path, processor, resize, crop):
    write(tmp_path, "preprocessor_config.json", {"do_center_crop": True, "resample": 3, **processor})
    read = geometry(model())
    assert (read.resize, read.crop) == (resize, crop)
    assert read.interpolation == "bicubic"
    assert read.mode == ("squash" if isinstance(resize, tuple) else "shorter")


def test_hugging_faces_turned_channels_and_second_division(model, tmp_path):
    processor = {"do_flip_channel_order": True, "include_top": True, "image_mean": [0.4] * 3, "image_std": [0.5] * 3}
    write(tmp_path, "preprocessor_config.json", processor)
    spec, _ = known(model())
    assert (spec.channel_order, spec.std) == ("BGR", (0.25,) * 3)


def test_one_number_stands_for_every_channel_in_a_sidecar(model, tmp_path):
    (tmp_path / "models.toml").write_text("[student]\nmean = 0.5\nstd = 2\n")
    spec, _ = known(model())
    assert (spec.mean, spec.std) == ((0.5,), (2.0,))
