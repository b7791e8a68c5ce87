"""From the students' inputs to a pretrained teacher's, and from its outputs to the data's classes, on the device.

Images are brought to the teacher's size and colours as `kdbench.data.reading.images` does it on the CPU: a teacher sees
the same images during distillation and when it is measured, within one grey level.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench.data.reading.images import scaled_size
from kdbench.evaluate.class_map import ABSENT
from kdbench.results.preprocessing import Geometry, Preprocessing

# Pillow's filters that torch has too.
FILTERS = {"nearest": "nearest-exact", "bilinear": "bilinear", "bicubic": "bicubic"}
_ABSENT_CLASSES = "absent_classes"  # set by name, because torch types a module's attributes as tensors or modules
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as Pillow's


@dataclass(frozen=True, eq=False)
class Normalisation:
    """How stored values x become inputs: (x / scale − mean) / std, with values per index of `axis`, or one for all."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    axis: int = 1

    def denormalised(self, inputs: Tensor) -> Tensor:
        """Return the stored values of normalised inputs (B, …)."""
        return (inputs * self._shaped(self.std, inputs) + self._shaped(self.mean, inputs)) * self.scale

    def normalised(self, stored: Tensor) -> Tensor:
        """Return the inputs of stored values (B, …)."""
        return (stored / self.scale - self._shaped(self.mean, stored)) / self._shaped(self.std, stored)

    def _shaped(self, values: Sequence[float], like: Tensor) -> Tensor:
        shape = [1] * like.dim()
        shape[self.axis] = len(values)
        return constant(tuple(values), like.dtype, like.device).view(shape)


@functools.lru_cache(maxsize=256)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a tensor of `values`, one for all calls: a copy at each step would wait for the device."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, dtype=dtype, device=device)


@dataclass(frozen=True, eq=False)
class TeacherInputs:
    """Maps the students' normalised inputs (B, …) to a teacher's, in its `layout`.

    `students` and `teacher` are the normalisations, `preprocessing` has the geometry and the order of channels. With
    `levels` the values are pixels from 0 to 255, which are whole numbers after resizing.

        TeacherInputs(Normalisation((0.5,), (0.2,), 255), Normalisation((0.4,), (0.3,), 255), Preprocessing())
    """

    students: Normalisation
    teacher: Normalisation
    preprocessing: Preprocessing
    layout: str = "NCHW"
    levels: bool = True

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the teacher's inputs; token ids pass unchanged."""
        if not inputs.is_floating_point():
            return inputs
        stored, geometry = self.students.denormalised(inputs.float()), self.preprocessing.geometry
        if stored.dim() == 4:
            stored = resized(_in_colours(stored, geometry.colour), geometry, levels=self.levels)
            if self.preprocessing.channel_order == "BGR":
                stored = stored.flip(1)
        values = self.teacher.normalised(stored)
        if self.layout == "NHWC":
            values = values.permute(0, 2, 3, 1)
        return values.flatten(1) if self.layout == "flat" else values.contiguous()


def _in_colours(images: Tensor, colour: str | None) -> Tensor:
    """Return grey images with their channel repeated, or RGB images in grey."""
    if colour == "RGB" and images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    if colour == "grey" and images.shape[1] == 3:
        return (images * constant(_LUMA, images.dtype, images.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    return images


def resized(images: Tensor, geometry: Geometry, *, levels: bool = True) -> Tensor:
    """Return images (B, C, H, W) in `geometry`, as `kdbench.data.reading.images.fitted`."""
    height, width = scaled_size(images.shape[2], images.shape[3], geometry)
    if (height, width) != tuple(images.shape[2:]):
        mode = FILTERS[geometry.interpolation]
        smooth = {} if geometry.interpolation == "nearest" else {"antialias": geometry.antialias}
        images = images.round() if levels else images
        # As Pillow: along the rows first, and whole numbers after each direction, halves rounded up.
        for size in ((images.shape[2], width), (height, width)):
            images = functional.interpolate(images, size=size, mode=mode, **smooth)
            images = (images + 0.5).floor().clamp(0, 255) if levels else images
    if geometry.mode == "letterbox" and isinstance(geometry.resize, tuple):
        sizes = zip(geometry.resize, (height, width), strict=True)
        top, left = (round((box - side) / 2 - 0.1) for box, side in sizes)
        fill = float(geometry.fill) if levels else geometry.fill / 255
        bottom, right = geometry.resize[0] - height - top, geometry.resize[1] - width - left
        images = functional.pad(images, (left, right, top, bottom), value=fill)
    if geometry.crop is not None:
        height, width = geometry.crop
        top, left = round((images.shape[2] - height) / 2), round((images.shape[3] - width) / 2)
        images = images[:, :, top : top + height, left : left + width]
    return images


def arranged(logits: Tensor, columns: Sequence[int]) -> Tensor:
    """Return the logits (B, classes) of the data's classes, which are the `columns` of a teacher's (B, outputs).

    A class that the teacher does not have gets the logit -inf: its probability is 0 at every temperature.
    """
    index = tuple(max(column, 0) for column in columns)
    chosen = logits.index_select(1, constant(index, torch.int64, logits.device))
    if ABSENT not in columns:
        return chosen
    absent = constant(tuple(column == ABSENT for column in columns), torch.bool, logits.device)
    return chosen.masked_fill(absent, -torch.inf)


def adapt(network: nn.Module, inputs: TeacherInputs, columns: Sequence[int] | None) -> nn.Module:
    """Make `network`, in place, accept the students' inputs and return logits of the data's classes; return it.

    Hooks convert, so that layers keep their paths. Without `columns` the outputs stay as they are. The attribute
    `absent_classes` lists the classes that the network does not have.
    """
    network.register_forward_pre_hook(lambda _module, arguments: (inputs(arguments[0]),))
    if columns is not None:
        chosen = tuple(columns)
        setattr(network, _ABSENT_CLASSES, tuple(number for number, column in enumerate(chosen) if column == ABSENT))
        network.register_forward_hook(lambda _module, _arguments, logits: arranged(logits, chosen))
    return network
