"""The kind of a file that is not an ONNX model, by its content, and the way to an ONNX file."""

import json
import re
import shlex
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from kdbench.modelfile.formats import protobuf

_HEAD_BYTES = 1 << 16
_SHAPE = "1, 3, 224, 224"  # of an example of an input
_EXPORT = f"torch.onnx.export(network, (torch.zeros({_SHAPE}),), {{target_text}})"
_DOWNLOAD = "download the file itself: on GitHub the raw file, on Hugging Face …/resolve/main/{url_name}"
_TF2ONNX = "convert it with tf2onnx: python -m tf2onnx.convert"


@dataclass(frozen=True)
class Kind:
    """A kind of file: `what` it is, as a noun, and a `hint` on the way to an ONNX file.

    `_shown` fills in its fields: {name}, {path}, {folder}, {target}, an ONNX file to write, and {beside}, one in the
    file's folder, as words of a command; {path_text} and {target_text} as strings of Python; {url_name} in an address.
    """

    what: str
    hint: str


_LITERT = "kdbench bench {beside} --runtime onnxruntime,litert"  # which takes the .tflite file beside the ONNX file
_TFLITE = Kind("a TensorFlow Lite model", f"{_TF2ONNX} --tflite {{path}} --output {{beside}}; then {_LITERT}")
_TFLITE_BESIDE = Kind(_TFLITE.what, f"measure it with the ONNX file beside it: {_LITERT}")
_SAVED_MODEL = Kind("a TensorFlow SavedModel", f"{_TF2ONNX} --saved-model {{folder}} --output model.onnx")
_GRAPH_DEF = Kind(
    "a frozen TensorFlow graph",
    f"{_TF2ONNX} --graphdef {{path}} --inputs INPUT:0 --outputs OUTPUT:0 --output {{target}}",
)
# Keras asks for the shapes of the inputs of a model that was loaded and not yet called.
_EXPORT_KERAS = (
    "export it: model = keras.models.load_model({path_text}); model.export({target_text}, format='onnx', "
    "input_signature=model.inputs)"
)
_HDF5 = Kind("an HDF5 file, as Keras saves models in", f"{_EXPORT_KERAS}; weights alone need their network first")
_KERAS = Kind("a Keras model", _EXPORT_KERAS)
_CHECKPOINT = Kind(
    "a checkpoint of PyTorch (torch.save)",
    f"name its network: kdbench bench --torch package.module:factory --weights {{path}}; or export that: {_EXPORT}",
)
_TORCHSCRIPT = Kind(
    "a TorchScript model",
    f"export it: torch.onnx.export(torch.jit.load({{path_text}}).eval(), (torch.zeros({_SHAPE}),), {{target_text}}, "
    "dynamo=False)",
)
_EXPORTED = Kind(
    "an exported program of PyTorch (.pt2)",
    "kdbench bench {path} exports and measures it; or torch.onnx.export(torch.export.load({path_text}), "
    "f={target_text}, dynamo=True)",
)
_MOBILE = Kind("a model for PyTorch Mobile", f"export the network that it was made from: {_EXPORT}")
_SAFETENSORS = Kind(
    "a safetensors file: weights without their network",
    f"name the network: kdbench bench --torch package.module:factory --weights {{path}}; or export that: {_EXPORT}",
)
_PICKLE = Kind(
    "a Python pickle, which kdbench does not open because it can run any code",
    "convert it where it was trained: a scikit-learn model with skl2onnx.to_onnx(model, x[:1], options={{'zipmap': "
    "False}}), a PyTorch network with torch.onnx.export",
)
_CAFFE = Kind(
    "a Caffe model",
    "convert it together with its .prototxt, for example with caffe2onnx, or measure an ONNX file of it",
)
_COREML = Kind("a Core ML model", "measure the ONNX file of the network that it was converted from")
_OPENVINO = Kind("an OpenVINO model", "measure the ONNX file that it was converted from: OpenVINO writes no ONNX")
_ENGINE = Kind(
    "a TensorRT engine, which only the GPU and the version that built it can run",
    "measure the ONNX file that it was built from",
)
_NCNN = Kind("an ncnn model", "measure the ONNX file that it was converted from")
_GZIP = Kind("compressed by gzip", "gzip -dc {path} > {target}")
_TAR_GZ = Kind("a tar archive compressed by gzip", "tar xzf {path}, then measure the .onnx file in it")
_HTML = Kind("a web page", _DOWNLOAD)
_IMAGE = Kind(
    "an image", "measure a model on a folder of images, one folder a class: kdbench bench MODEL.onnx --data folder:DIR"
)
_RESULT = Kind("the result of a device", "merge it into the run of its bundle: kdbench merge RUN {path}")
_EMPTY = Kind("an empty file", "download or export it again")
_LFS = re.compile(rb"\Aversion https://git-lfs\.github\.com/spec/v\d")

# By the first bytes of a file, the position where they stand before them.
_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (4, b"TFL3", _TFLITE),
    (0, b"\x89HDF\r\n\x1a\n", _HDF5),
    (4, b"PTMF", _MOBILE),
    (0, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", _CHECKPOINT),  # torch.save before torch 1.6
    *((0, bytes([0x80, version]), _PICKLE) for version in (2, 3, 4, 5)),
    (0, b"ftrt", _ENGINE),
    (0, b"ptrt", _ENGINE),
    (0, b"7767517\n", _NCNN),
    (257, b"ustar", Kind("a tar archive", "tar xf {path}, then measure the .onnx file in it")),
    (0, b"BZh", Kind("compressed by bzip2", "bzip2 -dc {path} > {target}")),
    (0, b"\xfd7zXZ\x00", Kind("compressed by xz", "xz -dc {path} > {target}")),
    (0, b"\x28\xb5\x2f\xfd", Kind("compressed by Zstandard", "zstd -dc {path} > {target}")),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", "7z x {path}, then measure the .onnx file in it")),
    (0, b"\x89PNG\r\n\x1a\n", _IMAGE),
    (0, b"\xff\xd8\xff", _IMAGE),  # JPEG
)
# The kinds by name, for files whose content does not identify them.
_BY_SUFFIX = {
    ".tflite": _TFLITE,
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".keras": _KERAS,
    ".pb": _GRAPH_DEF,
    ".pt2": _EXPORTED,
    **dict.fromkeys((".pt", ".pth", ".th", ".ckpt"), _CHECKPOINT),
    ".safetensors": _SAFETENSORS,
    ".caffemodel": _CAFFE,
    ".mlmodel": _COREML,
    ".xml": _OPENVINO,
    **dict.fromkeys((".engine", ".plan", ".trt"), _ENGINE),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), _PICKLE),
}


def foreign(path: Path) -> tuple[str, str] | None:
    """Return what the file or folder at `path` is and how to get an ONNX file, if its first bytes say so; else None."""
    if path.is_dir():
        return _shown(_of_folder(path), path)
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    # The length with which safetensors begin may look as a pickle does.
    kind = _SAFETENSORS if _is_safetensors(path, head) else _by_content(path, head)
    return None if kind is None else _shown(kind, path)


def unreadable(path: Path) -> tuple[str, str] | None:
    """Return what a file is that no ONNX model could be read from, by its fields or its name; None if unknown."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    kind = _of_protobuf(path, head) or _BY_SUFFIX.get(path.suffix.lower())
    return None if kind is None else _shown(kind, path)


def _shown(kind: Kind, path: Path) -> tuple[str, str]:
    stem = Path(path.stem)  # of net.onnx.gz, net.onnx
    target = f"{stem.stem if stem.suffix.lower() == '.onnx' else stem}.onnx"
    if target.casefold() == path.name.casefold():  # a shell empties the target before the command reads
        target = f"{path.stem}-converted.onnx"
    elif kind is _TFLITE:
        beside = path.with_suffix(".onnx")
        kind, target = (_TFLITE_BESIDE if beside.is_file() else kind), beside.name
    words = {"name": path.name, "path": path, "folder": path.parent, "target": target, "beside": path.parent / target}
    shown = {key: shlex.quote(str(word)) for key, word in words.items()}
    hint = kind.hint.format(**shown, path_text=repr(str(path)), target_text=repr(target), url_name=quote(path.name))
    return kind.what, hint


def _by_content(path: Path, head: bytes) -> Kind | None:
    for position, magic, kind in _MAGIC:
        if head[position : position + len(magic)] == magic:
            return kind
    if not head:
        return _EMPTY
    if head.startswith(b"PK\x03\x04"):
        return _of_zip(path)
    if head.startswith(b"\x1f\x8b"):
        return _of_gzip(head)
    if _LFS.match(head):
        return _of_lfs(head)
    return _of_text(head)


def _of_folder(path: Path) -> Kind:
    if (path / "saved_model.pb").is_file():
        return Kind("a folder with a TensorFlow SavedModel", f"{_TF2ONNX} --saved-model {{path}} --output {{target}}")
    files = sorted(path.glob("*.onnx")) or sorted(path.glob("models/*.onnx"))  # of a run
    hint = f"name the file: {_escaped(shlex.quote(str(files[0])))}" if files else "name an .onnx file"
    if path.suffix == ".mlpackage":
        return _COREML
    return Kind("a folder", hint)


def _of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        by_name = _BY_SUFFIX.get(path.suffix.lower())
        what = "a zip archive that is cut short" if by_name is None else f"{by_name.what}, cut short"
        return Kind(what, "download or copy it again")
    return _by_members(names)


def _by_members(names: list[str]) -> Kind:
    inner = {name.partition("/")[2] for name in names} | set(names)
    if {"SHA256SUMS", "result.json"} <= set(names):
        return _RESULT
    if "model.weights.h5" in inner:
        return _KERAS
    if "archive_format" in inner or "serialized_exported_program.json" in inner:
        return _EXPORTED
    if "data.pkl" in inner:
        return _TORCHSCRIPT if any(name.startswith("code/") for name in inner) else _CHECKPOINT
    if names and all(name.endswith(".npy") for name in names):
        return Kind(
            "an archive of NumPy arrays (.npz)", "measure a model on them: kdbench bench MODEL.onnx --data npz:{path}"
        )
    models = [name for name in names if name.endswith((".onnx", ".ort"))]
    then = f", then measure {_escaped(shlex.quote(models[0]))}" if models else ": no .onnx file is in it"
    return Kind("a zip archive", f"unzip {{path}}{then}")


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _of_gzip(head: bytes) -> Kind:
    try:
        content = zlib.decompressobj(wbits=31).decompress(head, 512)
    except zlib.error:
        return _GZIP
    return _TAR_GZ if content[257:262] == b"ustar" else _GZIP


def _of_lfs(head: bytes) -> Kind:
    size = re.search(rb"^size (\d{1,18})$", head, re.MULTILINE)
    of = f" to {int(size[1]):,} bytes that were not fetched" if size else ""
    return Kind(f"a Git LFS pointer{of}", "git lfs pull --include {name}, in its repository")


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Return whether a file begins with a length of 8 bytes, then that many bytes of JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _of_text(head: bytes) -> Kind | None:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else the last character is cut
            return None
        text = head[: error.start].decode()
    if any(ord(character) < 32 and character not in "\t\n\r\f" for character in text):
        return None
    start = text.lstrip("\ufeff \t\r\n")[:2048].lower()
    if "<net " in start and start.startswith("<"):
        return _OPENVINO
    if start.startswith(("<!doctype html", "<html")) or "<html" in start:
        return _HTML
    if _is_json(start, text, "modelTopology"):
        return Kind("a TensorFlow.js model", "convert it with tf2onnx: python -m tf2onnx.convert --tfjs {path}")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return Kind(f"a text: {first[:60]!r}", _DOWNLOAD)


def _is_json(start: str, text: str, key: str) -> bool:
    if not start.startswith("{") or key not in text:
        return False
    try:
        return key in json.loads(text)
    except (ValueError, RecursionError):
        return True  # longer than what was read


def _of_protobuf(path: Path, head: bytes) -> Kind | None:
    """Other models in protobuf: Caffe and GraphDef begin with text or a message, where ONNX has a version."""
    fields = list(protobuf.fields(head))
    if not fields:
        return None
    number, value = fields[0]
    if number != 1:
        return None
    if isinstance(value, bytes):
        inner = [field for field, _ in protobuf.fields(value)]
        if value[:1] == b"\x0a" and 2 in inner:  # a node: its name, its operator
            return _GRAPH_DEF
        return _CAFFE if value.isascii() and value.decode().isprintable() and len(fields) > 1 else None
    second = next((content for field, content in fields if field == 2), b"")
    if value == 1 and isinstance(second, bytes) and second[:1] == b"\x0a":
        return _SAVED_MODEL
    return _COREML if path.suffix == ".mlmodel" else None
