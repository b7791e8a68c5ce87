"""The layout of a layer's output, and the canonical form in which distillation compares outputs.

Convolutional networks give maps (B, C, H, W); Swin transformers maps (B, H, W, C); vision transformers tokens
(B, 1 + h·w, C) with a class token; recurrent networks sequences (B, T, C), or (T, B, C) and their states.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from kdbench.errors import InputError

LayoutName = Literal["NC", "NCHW", "NHWC", "NLC", "NCL", "LNC", "NCDHW", "NDHWC", "class_token"]
"""The axes of an output: N samples, C channels, L tokens or time steps, D, H, W depth, height, width. `class_token` is
the class token of tokens NLC, as a vector."""

AXES: Mapping[LayoutName, tuple[int, int, int]] = {
    **{name: (len(name), name.index("N"), name.index("C")) for name in get_args(LayoutName) if name.isupper()},
    "class_token": (3, 0, 2),
}
"""The number of axes of each layout, and the axes of the samples and of the channels."""


@dataclass(frozen=True)
class Layout:
    """The axes of an output, and the parts of it that are compared.

    `batch_axis` and `channel_axis` are indices of the output's axes. `first_of_several` is True if the output is the
    first item of a tuple. `before` and `after` count the class tokens, or other tokens without a position, at the
    beginning and at the end of tokens. `grid` is the height and width of the map whose cells the other tokens are, row
    by row; `in_order` is True if they are the steps of a sequence, `reordered` if they are steps in another order.
    `class_token` selects only the first class token. `of_image` is True if the positions of a map are the rows and
    columns of the image, as far as known.
    """

    channel_axis: int
    batch_axis: int = 0
    first_of_several: bool = False
    before: int = 0
    after: int = 0
    grid: tuple[int, int] | None = None
    in_order: bool = False
    reordered: bool = False
    class_token: bool = False
    of_image: bool = True

    def canonical(self, output: Any) -> Tensor:
        """Return vectors (B, C), tokens (B, N, C) without class tokens, maps (B, C, H, W) or volumes (B, C, D, H, W).

        An output that has this form is returned as it is.

            Layout(channel_axis=3).canonical(torch.rand(8, 7, 7, 96)).shape  # (8, 96, 7, 7)
        """
        feature: Tensor = output[0] if self.first_of_several else output
        places = [axis for axis in range(feature.dim()) if axis not in {self.batch_axis, self.channel_axis}]
        if len(places) == 1:
            tokens = _permuted(feature, [self.batch_axis, *places, self.channel_axis])
            if self.class_token:
                return tokens[:, 0] if self.before else tokens[:, -1]
            stop = tokens.shape[1] - self.after
            return tokens[:, self.before : stop] if self.before or self.after else tokens
        return _permuted(feature, [self.batch_axis, self.channel_axis, *places])


def _permuted(feature: Tensor, axes: list[int]) -> Tensor:
    return feature if axes == sorted(axes) else feature.permute(axes)


def require_comparable(student: Tensor, teacher: Tensor, student_layout: Layout, teacher_layout: Layout) -> bool:
    """Return whether tokens have to become maps so that two canonical features can be compared position by position.

    Raises InputError if they cannot be compared: a map with a vector, or tokens of different positions.
    """
    sides = (student, student_layout), (teacher, teacher_layout)
    dims, grids = [feature.dim() for feature, _ in sides], [layout.grid for _, layout in sides]
    hint = "name layers of one kind, two maps, two token maps or two vectors, with student_layer and teacher_layer"
    on_image = [layout.of_image for feature, layout in sides if feature.dim() == 4]
    if not all(on_image) and (student.shape[2:] != teacher.shape[2:] or any(on_image)):
        message = "the positions of a map are not the rows and columns of the image, but such as windows or heads,"
        raise InputError(f"{message} and cannot be matched with others", f"{hint}; or state the axes, such as NHWC")
    if any(layout.reordered for feature, layout in sides if feature.dim() == 3):
        message = "tokens that are the steps of the sequence in another order cannot be matched with others"
        raise InputError(message, f"{hint}; or state the axes, such as NLC, if both sides have this order")
    if sorted(dims) == [3, 4]:
        if grids[dims.index(3)] is not None:
            return True
        raise InputError("tokens whose positions in the image are not known cannot be matched with a map", hint)
    if len(set(dims)) > 1:
        kinds = sorted({_KINDS[rank] for rank in dims})
        raise InputError(f"{kinds[0]} cannot be matched with {kinds[1]}", hint)
    if dims == [3, 3] and not all(layout.in_order for _, layout in sides):
        if None not in grids:
            return grids[0] != grids[1]
        if student.shape[1] != teacher.shape[1] or grids != [None, None]:
            message = f"{student.shape[1]} tokens of the student and {teacher.shape[1]} of the teacher"
            raise InputError(f"{message} cannot be matched: not all of their positions in the image are known", hint)
    return False


_KINDS = {2: "a vector", 3: "tokens", 4: "a map", 5: "a volume"}


def channels_second(feature: Tensor) -> Tensor:
    """Return a canonical feature with its channels on axis 1: tokens (B, N, C) as (B, C, N)."""
    return feature.transpose(1, 2) if feature.dim() == 3 else feature


def comparable(feature: Tensor, layout: Layout, as_maps: bool) -> Tensor:
    """Return a canonical feature with its channels on axis 1, tokens as a map if `as_maps`: see require_comparable."""
    return channels_second(as_map(feature, layout) if as_maps else feature)


def as_map(feature: Tensor, layout: Layout) -> Tensor:
    """Return canonical tokens (B, h·w, C) with a grid as a map (B, C, h, w); other features as they are."""
    if feature.dim() != 3 or layout.grid is None:
        return feature
    return feature.transpose(1, 2).reshape(len(feature), -1, *layout.grid)
