"""Torch networks and exported programs, measured by the files that they are exported to."""

import sys

import numpy as np
import pytest
import torch
from file_runs import bench
from safetensors.torch import save_file

from kdbench import data
from kdbench.errors import DataMissingError, InputError, KdbenchError
from kdbench.recipe import Measure
from kdbench.results.cards import ModelCard
from kdbench.workflows.files import torch_networks as stage

pytestmark = pytest.mark.usefixtures("short_run")


FEW = Measure(energy="off", budget_s=0.2, batch=(16,), sessions=2)
MODULE = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * 64, 10)
    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))

class Named(Small):
    def forward(self, x):
        return {"hidden": x, "logits": super().forward(x)}

class Both(Small):
    def forward(self, x):
        return super().forward(x), x

class One(Small):
    def forward(self, x):
        return super().forward(x).reshape(1, 10)

class Two(Small):
    def forward(self, x):
        return super().forward(x).reshape(2, 10)

class Branching(Small):
    def forward(self, x):
        answer = super().forward(x)
        return answer * 2 if answer.sum() > 0 else answer

class Heads(Small):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(64, 10)
    def forward(self, x):
        return {"aux": self.other(x.flatten(1)), "logits": super().forward(x), "mean": x.mean()}

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 10)
    def forward(self, ids):
        return (self.table(ids).mean(1),)

def rows(): return nn.Linear(64, 10)
def needs(width): return Small(width)
def fails(): raise RuntimeError("no such widths")
def three(): return 3
def features(): return nn.Conv2d(1, 8, 3)
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A module of networks in the working directory, with its class Small."""
    (tmp_path / "kd_nets.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "kd_nets", raising=False)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        import kd_nets
    yield kd_nets
    sys.modules.pop("kd_nets", None)


@pytest.fixture
def network(nets):
    torch.manual_seed(0)
    made = nets.Small()
    made.norm.running_mean.fill_(0.1)  # evaluation mode differs from training mode
    return made.eval()


def top1(network, mean=0.0, std=1.0):
    """Return the accuracy on the digits' test part by a loop of torch's own."""
    test = data.load("digits").test
    images = (torch.from_numpy(test.inputs).float() / 255 - mean) / std
    with torch.no_grad():
        return float((network(images).argmax(dim=1).numpy() == test.labels).mean())


def program(network, path, batch=2, **options):
    torch.export.save(torch.export.export(network, (torch.zeros(batch, 1, 8, 8),), **options), path)
    return path


def test_networks_and_programs_are_measured_beside_each_other(network, tmp_path):
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "w.toml").write_text("mean = [0.5]\nstd = [0.25]\n")
    free = {"dynamic_shapes": ({0: torch.export.Dim("n")},)}
    paths = [program(network, tmp_path / "free.pt2", **free), program(network, tmp_path / "one[1].pt2", batch=1)]
    out = tmp_path / "out"
    record, _ = bench(
        paths, torch=["kd_nets:Small"], weights=["w.safetensors"], data="digits", options=FEW, timed=False, out=out
    )
    expected = {"free": top1(network), "one[1]": top1(network), "Small": top1(network, 0.5, 0.25)}
    assert {id_: record.find(id_, "top1").value for id_ in expected} == expected
    card = record.cards["Small"]
    assert (card.architecture, card.weights, card.file) == ("kd_nets:Small", "w.safetensors", "models/Small.onnx")
    assert ModelCard.read(out / "models" / "Small.card.json") == card
    assert record.cards["one[1]"].fixed_batch == 1
    assert not [warning for warning in record.warnings if warning.code == "weights"]


def test_a_program_of_several_outputs_is_measured_like_a_file(nets, tmp_path):
    network = nets.Heads().eval()
    free = {"dynamic_shapes": ({0: torch.export.Dim("n")},)}
    path = program(network, tmp_path / "heads.pt2", **free)
    record, _ = bench([path], data="digits", options=FEW, timed=False, out=tmp_path / "out")
    assert record.find("heads", "top1").value == top1(lambda images: network(images)["logits"])
    assert record.find("heads", "macs").value == 4 * 9 * 64 + 256 * 10 + 64 * 10


def test_a_program_of_token_ids_is_called_with_ids_that_it_knows(nets, tmp_path):
    ids = torch.zeros(2, 5, dtype=torch.int64)
    torch.export.save(torch.export.export(nets.Tokens(), (ids,)), tmp_path / "tokens.pt2")
    network = stage.TorchNetwork("tokens", program=tmp_path / "tokens.pt2")
    (path,) = exported(network, stage.InputOptions(accuracy=False), tmp_path)
    facts = stage.read_facts(path)
    assert (facts.vocabulary, [output.name for output in facts.outputs]) == (7, ["logits"])


def test_an_exported_network_is_measured_again_by_its_file(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "w.pth")
    options = {"data": "digits", "options": FEW, "timed": False}
    bench(torch=["a=kd_nets:Small"], weights=["a=w.pth"], mean=(0.5,), std=(0.25,), out=tmp_path / "first", **options)
    record, _ = bench([tmp_path / "first" / "models" / "a.onnx"], out=tmp_path / "second", **options)
    assert record.find("a", "top1").value == top1(network, 0.5, 0.25)


@pytest.mark.parametrize(
    ("factory", "message", "hint"),
    [
        ("kd_nets", "not an import path", "write it as pkg.module:factory"),
        ("kd_nets.py:Small", "not an import path", "for the file kd_nets.py: kd_nets:Small"),
        ("kd_nothing:Small", "no module 'kd_nothing'", "in the folder that holds kd_nothing"),
        ("kd_nets:Smal", "has no 'Smal'", "did you mean 'Small'?"),
        ("kd_nets:needs", "needs arguments: width", "return needs(width=…)"),
        ("kd_nets:fails", "RuntimeError: no such widths", "kd_nets.py:"),
        ("kd_nets:three", "returns int", "return a torch.nn.Module"),
        ("kd_nets:features", "returns 2x8x6x6 for 2 images", "returns only the logits"),
        ("kd_nets:Both", "returns a tuple", "returns only the logits"),
        ("kd_nets:One", "One takes one image at a time", "x.flatten(1)"),
        ("kd_nets:Two", "Two takes only batches of one size", "x.flatten(1)"),
    ],
)
@pytest.mark.usefixtures("nets")
def test_a_factory_that_cannot_be_measured_is_refused_before_anything_is_written(factory, message, hint, tmp_path):
    with pytest.raises(InputError, match=message) as refused:
        bench(torch=[factory], data="digits", options=FEW, out=tmp_path / "out")
    assert hint in refused.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("nets")
def test_foreign_files_of_a_published_set_are_refused_before_anything_is_exported(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "_export", lambda *_: pytest.fail("it was exported"))
    foreign = tmp_path / "cifar-10-batches-py" / "test_batch"
    foreign.parent.mkdir()
    foreign.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(DataMissingError, match="not the published file by its MD5: cifar-10-batches-py/test_batch"):
        bench(torch=["kd_nets:Small"], data="cifar10", data_root=str(tmp_path), options=FEW, out=tmp_path / "out")


def exported(network, inputs, tmp_path, images=None):
    return list(stage.export_networks([network], inputs, images, tmp_path))


@pytest.mark.parametrize("factory", ["Named", "rows"])
@pytest.mark.usefixtures("nets")
def test_logits_by_name_and_rows_of_pixels_are_taken(factory, tmp_path):
    inputs = stage.InputOptions(data="digits")
    network = stage.TorchNetwork("m", f"kd_nets:{factory}")
    (path,) = exported(network, inputs, tmp_path, stage.TestImages(inputs))
    assert stage.read_facts(path).input_shape == ((None, 64) if factory == "rows" else (None, 1, 8, 8))


@pytest.mark.usefixtures("nets")
def test_without_data_the_size_has_to_be_known(tmp_path):
    network = stage.TorchNetwork("m", "kd_nets:Small")
    with pytest.raises(InputError, match="input size of m is not known"):
        exported(network, stage.InputOptions(accuracy=False), tmp_path)
    (path,) = exported(network, stage.InputOptions(accuracy=False, size=(8, 8)), tmp_path)
    assert stage.read_facts(path).input_shape == (None, 1, 8, 8)


@pytest.mark.usefixtures("nets")
def test_a_file_that_answers_differently_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.export.onnx.parity_tolerance", lambda _: -1.0)
    with pytest.raises(KdbenchError, match="m is not measured: its ONNX file differs"):
        exported(stage.TorchNetwork("m", "kd_nets:Small"), stage.InputOptions(accuracy=False, size=(8, 8)), tmp_path)


@pytest.mark.usefixtures("nets")
def test_a_network_that_cannot_be_exported_is_refused_with_the_cause_and_without_noise(tmp_path, capfd):
    inputs = stage.InputOptions(accuracy=False, size=(8, 8))
    with pytest.raises(KdbenchError, match=r"m: the network cannot be exported to ONNX: .*data-dependent"):
        exported(stage.TorchNetwork("m", "kd_nets:Branching"), inputs, tmp_path)
    assert "forward" not in "".join(capfd.readouterr())


def test_errors_name_the_program_and_not_its_export(network, tmp_path):
    path = program(network, tmp_path / "small.pt2")
    np.savez(tmp_path / "test.npz", x=np.zeros((4, 9, 9), np.uint8), y=np.zeros(4, np.int64))
    with pytest.raises(InputError, match=r"^small takes inputs of shape 2x1x8x8, but the images are 1x9x9"):
        bench([path], data=f"npz:{tmp_path / 'test.npz'}", options=FEW, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("factories", "weights", "expected"),
    [
        (["m:f"], [], [("f", None)]),
        (["m:f", "m:g"], ["1.pth", "2.pth"], [("f", "1.pth"), ("g", "2.pth")]),
        (["m:f", "m:f"], ["1.pth", "2.pth"], [("f-1", "1.pth"), ("f-2", "2.pth")]),
        (["a=m:f", "b=m:f"], ["b=2.pth"], [("a", None), ("b", "2.pth")]),
        (["a=m:f", "b=m:f"], ["b=2.pth", "e=1.pth"], [("a", "e=1.pth"), ("b", "2.pth")]),
    ],
)
def test_weights_find_their_network(factories, weights, expected):
    networks = stage.torch_networks(factories, weights)
    assert [(n.id, n.weights and str(n.weights)) for n in networks] == expected


@pytest.mark.parametrize(
    ("factories", "weights", "hint"),
    [
        ([], ["1.pth"], "give the network too: --torch"),
        (["m:f", "m:g"], ["1.pth"], "--weights ID=FILE"),
        (["m:f"], ["f=1.pth", "f=2.pth"], "--torch ID="),
    ],
)
def test_weights_without_one_network_are_refused(factories, weights, hint):
    with pytest.raises(InputError) as refused:
        stage.torch_networks(factories, weights)
    assert hint in refused.value.hint
