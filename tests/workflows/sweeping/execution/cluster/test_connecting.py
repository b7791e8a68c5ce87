from types import SimpleNamespace

import pytest

from kdbench.errors import InputError
from kdbench.extras import install
from kdbench.workflows.sweeping import engines
from kdbench.workflows.sweeping.execution.cluster import connecting
from kdbench.workflows.sweeping.execution.cluster.connecting import connected


@pytest.mark.parametrize("on", ["moon", "ray://host", "host:", "host:99999", "http://host:1", "host:1/x"])
def test_what_is_no_address_is_refused(on):
    with pytest.raises(InputError, match="no engine") as error, connected(on, None):
        pass
    assert "ray://HOST:PORT" in error.value.hint


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_told_at_once(scheme, monkeypatch):
    monkeypatch.setattr(connecting, "require", lambda *_: None)
    with pytest.raises(InputError, match=r"no Ray cluster answers at .*127\.0\.0\.1:1: ") as error:  # noqa: SIM117
        with connected(f"{scheme}127.0.0.1:1", None):
            pass
    assert "ray start" in error.value.hint


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_of_this_machine_that_has_ended_is_told_at_once(address, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=r"answers at 127\.0\.0\.1:1, which auto") as error, connected("auto", None):
        pass
    assert "ray start" in error.value.hint


@pytest.mark.parametrize(
    ("on", "message", "reason", "hint"),
    [
        (
            "auto",
            "Could not find any running Ray instance.\nSet it.",
            "Could not find any running Ray instance.",
            "--head",
        ),
        ("h:1", "Failed to connect to Ray cluster at h:1", "Failed to connect to Ray cluster at h:1", "RAY_AUTH_MODE"),
        ("ray://h:1", "Failure from server:\nTraceback:\n  x\nE: why\n", "Failure from server: E: why", "ray status"),
        ("ray://h:1", "from server: Starting Ray client server failed.", "from server: Starting Ray", "try again"),
        ("h:1", "Version mismatch: there 2.1\nhere 2.2", "Version mismatch: there 2.1", "same versions"),
        ("h:1", "", "ConnectionError", "ray status"),
    ],
)
def test_why_a_cluster_cannot_be_joined_is_shown(on, message, reason, hint):
    def init(*_arguments, **_options):
        raise ConnectionError(message)

    ray = SimpleNamespace(init=init, exceptions=SimpleNamespace(RayError=OSError), _private=SimpleNamespace())
    ray._private.worker = SimpleNamespace(print_to_stdstream=print)
    with pytest.raises(InputError, match=f"{on} cannot be joined: {reason}") as error:
        connecting._join(ray, on)
    assert hint in error.value.hint


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("kdbench.extras._installed", lambda module: module != "ray")
    with pytest.raises(InputError, match="needs ray") as error, connected("auto", None):
        pass
    assert error.value.hint == install("cluster")


def test_only_a_cluster_has_nodes_to_measure_on():
    with (
        pytest.raises(InputError, match="--measure-on pi5 selects nodes of a cluster"),
        engines.connected("local", "pi5"),
    ):
        pass
