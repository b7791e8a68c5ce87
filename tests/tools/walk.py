"""Walk one recipe and one latency sample through kdbench's modules and count the returns.

    python tests/tools/walk.py [--sequence]

It runs the kdbench that is imported, so `PYTHONPATH=OTHER python tests/tools/walk.py` walks another checkout.

A *step* is a call of a function in one module of kdbench by a function in another; frames of libraries between the
two are passed over, and so is everything that runs while a module is imported. A step from one module to another
counts once, the first time it is made: calling the same neighbour again tells a reader nothing new.
A step is a *return* if it enters a module that the walk had entered before and has left since: the reader must turn
back to a file that was already closed.
A *room* is a folder of kdbench. A step is a *return to a room* if it enters a room that the walk had left, and is the
first from the caller's room to that one.
A step is a *climb* if it enters a module that waits for the caller to return (a callback): the reader is sent back up
the way they came.

Left out is what a reader does not follow: methods of values (dataclasses and pydantic models), and modules that
everybody may call (errors, units, storage, progress, registry, `__init__`).

Walks:
- recipe: `kdbench.run` of a recipe with one teacher and one student, its first 80 steps;
- sample: `kdbench.bench` of one model, from the first step into the latency sessions until the measuring process has
  taken its first samples; the measuring process runs inside this one, so that its steps count too.
"""

import argparse
import dataclasses
import functools
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np

import kdbench

STEPS = 80
_ROOT = Path(kdbench.__file__).parent
_FOR_EVERYBODY = {"kdbench", "kdbench.errors", "kdbench.units", "kdbench.storage", "kdbench.progress"}
_FOR_EVERYBODY |= {"kdbench.registry", "kdbench.toml_files"}
_WORKERS = {"kdbench.worker.__main__", "kdbench.measure.worker"}


class EnoughError(BaseException):
    """Ends a walk from within."""


class Walk:
    """Steps between modules, in the order in which they are first made.

    `begin` and `end` name the function (module and name) whose call begins the walk and whose return ends it.
    """

    def __init__(
        self,
        limit: int | None = None,
        begin: Callable[[str, str], bool] | None = None,
        end: Callable[[str, str], bool] | None = None,
    ) -> None:
        self.steps: list[tuple[str, str]] = []
        self.climbs: list[tuple[str, str]] = []
        self._limit, self._begin, self._end = limit, begin, end
        self._known: set[tuple[str, str]] = set()
        self._begun = begin is None

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Note a call; `sys.setprofile` calls this."""
        module = _module(frame)
        if module is None:
            return
        if event == "return" and self._begun and self._end and self._end(module, frame.f_code.co_name):
            raise EnoughError
        if event != "call" or frame.f_code.co_name == "<module>":
            return
        caller = _caller(frame)
        if _of_value(frame) or caller is None or caller == module or (caller, module) in self._known:
            return
        self._begun = self._begun or (self._begin is not None and self._begin(caller, module))
        if self._begun:
            self._known.add((caller, module))
            self.steps.append((caller, module))
            if module in _stack(frame):
                self.climbs.append((caller, module))
            if self._limit and len(self.steps) >= self._limit:
                raise EnoughError

    @property
    def returns(self) -> list[tuple[str, str]]:
        """The steps that enter a module which the walk had left."""
        entered: set[str] = set()
        returns: list[tuple[str, str]] = []
        last = ""
        for caller, module in self.steps:
            if module in entered and module != last:
                returns.append((caller, module))
            entered |= {caller, module}
            last = module
        return returns

    @property
    def room_returns(self) -> list[tuple[str, str]]:
        """The steps that enter a room which the walk had left, the first from each room to each."""
        entered: set[str] = set()
        known: set[tuple[str, str]] = set()
        returns: list[tuple[str, str]] = []
        last = ""
        for caller, module in self.steps:
            rooms = _room(caller), _room(module)
            if rooms[0] != rooms[1] and rooms not in known and rooms[1] in entered and rooms[1] != last:
                returns.append((caller, module))
            known.add(rooms)
            entered |= set(rooms)
            last = rooms[1]
        return returns


def _room(module: str) -> str:
    """Return the folder of a module below `kdbench`, or the module itself where it is in none."""
    return ".".join(module.split(".")[:2])


def _module(frame: FrameType) -> str | None:
    """Return the module of kdbench that the frame runs in; None for libraries and what everybody may call."""
    return _module_of(frame.f_code.co_filename)


@functools.cache
def _module_of(file: str) -> str | None:
    path = Path(file)
    if _ROOT not in path.parents:
        return None
    name = ".".join(("kdbench", *path.relative_to(_ROOT).with_suffix("").parts))
    return None if name in _FOR_EVERYBODY or name.endswith(".__init__") else name


def _stack(frame: FrameType) -> Iterator[str | None]:
    """Yield the modules of the frames that wait for this one."""
    below = frame.f_back
    while below is not None:
        yield _module(below)
        below = below.f_back


def _of_value(frame: FrameType) -> bool:
    """Whether the frame is a method of a frozen value, a dataclass or a pydantic model."""
    code = frame.f_code
    first = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount and "." in code.co_qualname else None
    kind = first if isinstance(first, type) else type(first)
    return dataclasses.is_dataclass(kind) or hasattr(kind, "model_fields")


def _caller(frame: FrameType) -> str | None:
    """Return the nearest module of kdbench below in the stack; None while a module is imported."""
    nearest, above = None, frame.f_back
    while above is not None:
        if above.f_code.co_name == "<module>" and above.f_code.co_filename.startswith(str(_ROOT)):
            return None
        nearest = nearest or _module(above)
        above = above.f_back
    return nearest


def follow(walk: Walk, work: Callable[[], object]) -> Walk:
    """Do `work` until it or the walk ends."""
    sys.setprofile(walk)
    try:
        work()
    except EnoughError:
        pass
    finally:
        sys.setprofile(None)
    return walk


def recipe(folder: Path) -> Walk:
    """Walk the first steps of a small recipe."""
    images, labels = _images()
    np.savez(folder / "set.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    student = {"name": "small", "model": {"name": "convnet", "widths": [4]}, "terms": [{"method": "kd"}]}
    content = {
        "name": "tiny",
        "data": {"name": f"npz:{folder / 'set.npz'}", "validation": 0.2},
        "training": {"epochs": 1, "batch": 16, "threads": 1},
        "teacher": [{"name": "teacher", "model": {"name": "convnet", "widths": [4]}}],
        "student": [student],
        "measure": {"budget_s": 1, "sessions": 2, "batch": 4},
    }
    path = folder / "recipe.toml"
    path.write_text("\n".join(_toml(content)), encoding="utf-8")

    def work() -> None:
        kdbench.run(kdbench.load_recipe(path), folder / "out")

    return follow(Walk(STEPS), work)


def sample(folder: Path) -> Walk:
    """Walk the way of the first latency samples, measuring process included."""
    model = _classifier(folder / "model.onnx")

    def begins(_caller: str, module: str) -> bool:
        return module.endswith(".latency.sessions")

    def ends(module: str, function: str) -> bool:
        return module.endswith("probes.latency") and function == "run"

    with _measuring_here():
        return follow(Walk(None, begins, ends), lambda: kdbench.bench([model], accuracy=False, out=folder / "bench"))


@contextmanager
def _measuring_here() -> Iterator[None]:
    """Run measuring processes inside this one."""
    real = subprocess.Popen

    def popen(arguments: Any, **options: Any) -> Any:
        worker = next((name for name in _WORKERS if name in map(str, arguments)), None)
        if worker is None:
            return real(arguments, **options)
        said = io.StringIO()
        with mock.patch("sys.stdout", said):
            importlib.import_module(worker).main(*map(Path, arguments[arguments.index(worker) + 1 :]))
        return mock.Mock(stdout=io.BytesIO(said.getvalue().encode()), wait=mock.Mock(return_value=0))

    with mock.patch("subprocess.Popen", popen), mock.patch("os.sched_setaffinity", return_value=None):
        yield


def _images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (100, 1, 8, 8), dtype=np.uint8), np.arange(100) % 4


def _toml(content: dict[str, Any]) -> Iterator[str]:
    """Yield lines of TOML; inline tables suffice for a tiny recipe."""
    for key, value in content.items():
        yield f"{key} = {_inline(value)}"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def _classifier(path: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((64, 4), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def main() -> None:
    """Print how many steps and returns each walk has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sequence", action="store_true", help="print every step; * marks returns, # returns to rooms, ^ climbs"
    )
    options = parser.parse_args()
    for name, walking in (("recipe", recipe), ("sample", sample)):
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, KDBENCH_LOCK_DIR=folder):
            walk = walking(Path(folder))
        returns = f"{len(walk.returns)} returns, {len(walk.room_returns)} returns to rooms"
        print(f"{name}: {len(walk.steps)} steps, {returns}, {len(walk.climbs)} climbs")
        if options.sequence:
            for step in walk.steps:
                caller, module = (part.removeprefix("kdbench.") for part in step)
                marked = {"^": walk.climbs, "#": walk.room_returns, "*": walk.returns}
                marks = "".join(mark if step in steps else " " for mark, steps in marked.items())
                print(f"  {marks} {caller} -> {module}")


if __name__ == "__main__":
    main()
