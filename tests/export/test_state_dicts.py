"""Weights from files into a network: strict, but for a new last layer where one is wanted."""

import argparse
import pathlib
import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from kdbench import models
from kdbench.errors import InputError
from kdbench.export.state_dicts import SeveralWeightsError, chosen_weights, load_weights


def network(classes=3, widths=(4, 8), seed=0):
    torch.manual_seed(seed)
    return models.build("convnet", (1, 8, 8), classes, widths=list(widths))


@pytest.fixture(params=["safetensors", "pth", "wrapped"])
def saved(request, tmp_path):
    def save(net):
        if request.param == "safetensors":
            path = tmp_path / "w.safetensors"
            save_file(net.state_dict(), path)
        else:
            path = tmp_path / "w.pth"
            state = net.state_dict()
            torch.save(state if request.param == "pth" else {"state_dict": state, "epoch": 3}, path)
        return path

    return save


def test_the_weights_are_those_of_the_file(saved):
    original, loaded = network(seed=1), network(seed=2)
    assert load_weights(loaded, saved(original)) == ()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in original.state_dict().items())


def test_a_last_layer_of_other_classes_stays_fresh_where_that_is_wanted(saved):
    original, loaded = network(classes=10, seed=1), network(classes=3, seed=2)
    before = {name: value.clone() for name, value in loaded.state_dict().items()}
    path = saved(original)
    with pytest.raises(InputError, match=r"10, 8\) in the file, \(3, 8\) in the network"):
        load_weights(loaded, path)
    fresh = load_weights(loaded, path, outputs=3)
    assert len(fresh) == 2
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, before[name] if name in fresh else original.state_dict()[name]), name


@pytest.mark.parametrize("widths", [(4, 6), (3, 8), (5, 8)])
def test_other_layers_of_another_width_are_refused(saved, widths):
    with pytest.raises(InputError, match="of another shape") as caught:
        load_weights(network(widths=widths), saved(network(classes=10)), outputs=3)
    assert "blocks" in caught.value.message or "stem" in caught.value.message


def test_what_is_missing_or_unexpected_is_named(saved):
    with pytest.raises(InputError, match=r"missing \(.*blocks.2") as caught:
        load_weights(network(widths=(4, 8, 8)), saved(network()), outputs=3)
    assert "of this network" in caught.value.message
    with pytest.raises(InputError, match=r"unexpected \(.*blocks.2"):
        load_weights(network(), saved(network(widths=(4, 8, 8))), outputs=3)


def test_integers_are_no_weights(tmp_path):
    """A quantized network's, which its scales turn into weights."""
    state = network().state_dict()
    first = next(name for name, value in state.items() if value.is_floating_point())
    torch.save({**state, first: state[first].to(torch.int8)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"1 of another type \(.*int8 in the file, float32 in the network"):
        load_weights(network(), tmp_path / "w.pth")


def test_half_precision_becomes_single(tmp_path):
    state = network(seed=1).half().state_dict()
    torch.save(state, tmp_path / "w.pth")
    loaded = network(seed=2)
    load_weights(loaded, tmp_path / "w.pth")
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, state[name].to(value.dtype)), name


def held(state, before):
    return {f"{before}{name}": value for name, value in state.items()}


STATE = network(seed=1).state_dict()
OTHER = network(seed=3).state_dict()
FIRST = next(iter(STATE))
LOSS = {"criterion.weight": torch.ones(3)}
ADAM = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(4)}}, "param_groups": []}
CHECKPOINTS = {
    "DataParallel": {"state_dict": held(STATE, "module."), "best_acc1": np.float64(0.7)},
    "parts in parallel": {name.replace("blocks", "blocks.module"): value for name, value in STATE.items()},
    "in tables": {"model": {"state_dict": STATE}, "optimizer": ADAM},
    "Composer": {"state": {"model": held(STATE, "module."), "optimizers": {"Adam": ADAM}}},
    "DeepSpeed": {"module": STATE, "optimizer": None},
    "AveragedModel": AveragedModel(network(seed=1)).state_dict(),
    "timm": {
        "arch": "resnet",
        "args": argparse.Namespace(lr=0.1, path=pathlib.PosixPath("/data")),
        "state_dict": STATE,
    },
    "Lightning": {"state_dict": {**held(STATE, "net."), **LOSS}, "epoch": 3, "pytorch-lightning_version": "2"},
    "a module's attribute": held(STATE, "backbone."),
}


def test_all_that_does_not_fit_is_in_one_message(tmp_path):
    last = next(reversed(STATE))
    weights = {name: value for name, value in STATE.items() if name != last}
    torch.save(weights | {"extra": torch.zeros(2), FIRST: torch.zeros(5, 1, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=rf"1 of another shape \({FIRST}.*1 missing \({last}\).*\(extra\)"):
        load_weights(network(), tmp_path / "w.pth")


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_the_weights_in_a_trainers_checkpoint_are_found(kind, tmp_path):
    torch.save(CHECKPOINTS[kind], tmp_path / "w.pth")
    loaded = network(seed=2)
    assert load_weights(loaded, tmp_path / "w.pth") == ()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, STATE[name]), name


def test_a_path_in_a_checkpoint_of_another_python_is_read(tmp_path, monkeypatch):
    class Path:
        def __reduce__(self):
            return Path, ("/data",)

    Path.__module__, Path.__qualname__ = "pathlib._local", "PosixPath"  # as in Python 3.13
    module = types.SimpleNamespace(PosixPath=Path)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "pathlib._local", module)
        torch.save({"state_dict": STATE, "path": Path()}, tmp_path / "w.pth")
    assert b"pathlib._local" in (tmp_path / "w.pth").read_bytes()
    assert chosen_weights(network(), tmp_path / "w.pth").key == "state_dict"


SEVERAL = {
    "timm": ({"state_dict": STATE, "state_dict_ema": OTHER}, ("state_dict", "state_dict_ema")),
    "torchvision": ({"model": STATE, "model_ema": {**held(OTHER, "module."), "n_averaged": 3}}, ("model", "model_ema")),
    "Lightning": ({"state_dict": {**held(STATE, "student."), **held(OTHER, "teacher.")}},
                  ("state_dict.student", "state_dict.teacher")),
    "ema-pytorch": ({**held(STATE, "online_model."), **held(OTHER, "ema_model."), "step": torch.tensor(3)},
                    ("online_model", "ema_model")),
}  # fmt: skip


@pytest.mark.parametrize("kind", SEVERAL)
def test_of_several_sets_of_weights_one_is_named(kind, tmp_path):
    content, keys = SEVERAL[kind]
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(SeveralWeightsError) as refused:
        load_weights(network(), path)
    assert set(refused.value.keys) == set(keys)
    for key, state in zip(keys, (STATE, OTHER), strict=True):
        loaded = network(seed=2)
        load_weights(loaded, path, key=key)
        assert torch.equal(loaded.state_dict()[FIRST], state[FIRST])
    expression = refused.value.hint.partition("torch.save(")[2].removesuffix(", 'weights.pth')")
    torch.save(eval(expression, {"checkpoint": content}), path)
    load_weights(network(), path)
    with pytest.raises(InputError, match="no weights called 'emma'"):
        load_weights(network(), path, key="emma")


def test_the_same_names_with_other_shapes_are_another_networks(tmp_path):
    wide = network(widths=(8, 16)).state_dict()
    torch.save({**held(STATE, "student."), **held(wide, "teacher.")}, tmp_path / "w.pth")
    loaded = network(seed=2, widths=(8, 16))
    load_weights(loaded, tmp_path / "w.pth")
    assert torch.equal(loaded.state_dict()[FIRST], wide[FIRST])


def test_a_small_part_of_a_file_is_taken_only_if_it_is_named(tmp_path):
    torch.save({**held(STATE, "encoder."), **held(nn.Linear(5, 3).state_dict(), "head.")}, tmp_path / "w.pth")
    head = nn.Linear(5, 3)
    with pytest.raises(InputError, match="under head, but mostly other weights"):
        load_weights(head, tmp_path / "w.pth")
    load_weights(head, tmp_path / "w.pth", key="head")
    assert torch.equal(head.weight, torch.load(tmp_path / "w.pth")["head.weight"])


def test_a_module_around_the_network_that_was_saved_takes_its_weights(tmp_path):
    wrapped = nn.Sequential()
    wrapped.add_module("backbone", network(seed=2))
    torch.save(STATE, tmp_path / "w.pth")
    assert load_weights(wrapped, tmp_path / "w.pth") == ()
    assert torch.equal(wrapped.backbone.state_dict()[FIRST], STATE[FIRST])


def test_a_buffer_that_is_no_longer_saved_may_be_in_the_file_if_it_is_the_same(tmp_path):
    class Masked(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.register_buffer("mask", torch.tensor([1.0, 0.0]), persistent=False)

    state = Masked().state_dict()
    torch.save({**state, "mask": torch.tensor([1.0, 0.0])}, tmp_path / "w.pth")
    assert load_weights(Masked(), tmp_path / "w.pth") == ()
    torch.save({**state, "mask": torch.tensor([0.0, 1.0])}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"unexpected \(mask\)"):
        load_weights(Masked(), tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_names_that_the_network_converts_are_converted(tmp_path):
    older = nn.utils.weight_norm(nn.Linear(3, 2))
    torch.save(older.state_dict(), tmp_path / "w.pth")
    newer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    load_weights(newer, tmp_path / "w.pth")
    assert torch.allclose(newer(torch.eye(3)), older(torch.eye(3)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_safetensors_of_another_precision_are_converted(dtype, tmp_path):
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in STATE.items()}
    save_file(state, tmp_path / "w.safetensors")
    loaded = network(seed=2)
    load_weights(loaded, tmp_path / "w.safetensors")
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, state[name].to(value.dtype)), name


def test_what_is_no_state_dict_is_refused_and_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pathlib.Path.touch, (tmp_path / "sprung",))

    def written(name, save):
        save(tmp_path / name)
        return tmp_path / name

    net = network().eval()
    script = torch.jit.trace(net, torch.zeros(1, 1, 8, 8))
    weights = {"model": STATE}
    twice = weights | {"model_ema": STATE}
    save, lfs = "torch.save(network.state_dict(), 'weights.pth')", "version https://git-lfs.github.com/spec/v1\n"
    files = {
        written("whole.pth", lambda path: torch.save(net, path)): ("holds Python objects", save),
        written("trap.pth", lambda path: torch.save(weights | {"a": Trap()}, path)): ("holds Python objects", save),
        written("script.pt", lambda path: torch.jit.save(script, path)): ("TorchScript", save),
        written("two.pth", lambda path: torch.save(twice, path)): ("weights: model, model_ema", "checkpoint['model']"),
        written("none.pth", lambda path: torch.save({"epoch": 3}, path)): ("holds no weights", save),
        written("cut.safetensors", lambda path: path.write_bytes(b"\x08")): ("not a readable safetensors", "truncated"),
        written("text.pth", lambda path: path.write_text("hello")): ("not a state dict", save),
        written("lfs.pth", lambda path: path.write_text(lfs)): ("Git LFS", "git lfs pull"),
        tmp_path / "missing.pth": ("no weights at", "name a file of weights"),
    }
    for path, (message, hint) in files.items():
        with pytest.raises(InputError, match=message) as refused:
            load_weights(net, path)
        assert hint in refused.value.hint
    assert not (tmp_path / "sprung").exists()
