"""A device behind ssh: a local sshd, with a key, a port and a home folder of its own."""

import getpass
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.cli.main import main
from kdbench.edge.bundles.stored_bundles import known_bundle
from kdbench.edge.results.opened_archive import open_result
from kdbench.edge.ssh import measure_on_device, remote_of, software_of
from kdbench.errors import InputError, MeasurementError
from kdbench.progress import Silent
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.merge import merge

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, str]]:
    """Start an sshd on this machine; return the place, its home folder, and the ssh command that reaches it."""
    if SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no sshd: apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    home = folder / "home"
    home.mkdir()
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = folder / "there.sh"
    there.write_text(f'#!/bin/sh\ncd {shlex.quote(str(home))} && exec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    there.chmod(0o755)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"PidFile {folder / 'pid'}\nStrictModes no\nUsePAM no\nForceCommand {there}\nPermitRootLogin yes\n"
    )
    config = folder / "ssh_config"
    config.write_text(
        f"Host *\n  IdentityFile {folder / 'user'}\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder / 'known'}\n"
        "  StrictHostKeyChecking accept-new\n  BatchMode yes\n  LogLevel ERROR\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE)
    try:
        for _ in range(100):
            if server.poll() is not None:
                assert server.stderr is not None
                pytest.skip(f"sshd does not start here: {server.stderr.read().decode()[-200:]}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"ssh:{getpass.getuser()}@127.0.0.1:{port}", home, f"ssh -F {config}"
    finally:
        server.terminate()
        server.wait()


def test_a_bundle_goes_to_the_device_and_its_result_comes_back(device, run, tmp_path, monkeypatch):
    place, home, command = device
    monkeypatch.setenv("KDBENCH_SSH", command)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    remote = remote_of(place, sys.executable)
    software = software_of(remote)
    assert software.python == ".".join(map(str, sys.version_info[:3]))
    (manifest,) = (run / "bundles").glob("*.json")
    known_bundle(manifest.stem, RunFolder(run))

    notes: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "note", notes.append)
    result = tmp_path / "result.zip"
    measure_on_device(remote, run / "bundles" / "here.zip", manifest.stem, result, progress)
    assert any("[3/6] latency" in note for note in notes)
    assert not any("result.zip" in note for note in notes)  # the host fetches and merges it
    assert merge(run, result).name == "here"
    assert list((home / ".cache" / "kdbench").iterdir()) == []  # nothing is left there


def test_a_damaged_bundle_is_refused_there(device, run, tmp_path, monkeypatch):
    place, _, command = device
    monkeypatch.setenv("KDBENCH_SSH", command)
    remote = remote_of(place, sys.executable)
    damaged = tmp_path / "damaged.zip"
    content = bytearray((run / "bundles" / "here.zip").read_bytes())
    at = content.index(b"latency_p50_ns")  # in target.toml: its CRC is checked when it is unpacked
    content[at] ^= 1
    damaged.write_bytes(bytes(content))
    with pytest.raises(Exception, match=r"CRC|exit code 3"):
        measure_on_device(remote, damaged, "0" * 64, tmp_path / "result.zip", Silent())
    assert not (tmp_path / "result.zip").exists()


def test_a_python_without_libraries_is_named(device, monkeypatch):
    place, _, command = device
    monkeypatch.setenv("KDBENCH_SSH", command)
    with pytest.raises(InputError, match="has no working no-such-python"):
        software_of(remote_of(place, "no-such-python"))


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """A home folder that a script in place of ssh works in; it greets, as a start-up file of a shell may."""
    home, script = tmp_path / "home of pi", tmp_path / "shell.sh"
    (home / "my venv").mkdir(parents=True)
    python = home / "my venv" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    script.write_text(
        "#!/bin/sh\n"  # its arguments: -- DESTINATION SCRIPT
        f"cd {shlex.quote(str(home))} && export HOME=$PWD && echo Welcome\n"
        'case "$3" in "exec "*) [ -e lost ] && exit 255;; esac\n'
        'exec sh -c "$3"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("KDBENCH_SSH", str(script))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return home


def test_a_lost_connection_is_continued_as_the_hint_says(shell, measured, run, tmp_path):
    remote, result, steps = remote_of("ssh:pi", "my venv/python"), tmp_path / "result.zip", measured / "bundle" / "work"
    assert software_of(remote) == software_of(remote_of("ssh:pi", "~/my venv/python"))
    (manifest,) = (run / "bundles").glob("*.json")
    place = shell / ".cache" / "kdbench" / manifest.stem[:16]
    shutil.copytree(steps, place / "work")  # measured already, so that run.py only packs it
    (shell / "lost").touch()
    with pytest.raises(MeasurementError, match="the connection to pi ended") as lost:
        measure_on_device(remote, run / "bundles" / "here.zip", manifest.stem, result, Silent())
    command, file = re.fullmatch(r"there, (.*) continues it; then merge its (.*) here", lost.value.hint).groups()
    there = {"PATH": os.environ["PATH"], "HOME": str(shell)}
    subprocess.run(["sh", "-c", command], cwd=shell, env=there, check=True, capture_output=True)
    assert merge(run, shell / file).name == "here"

    (shell / "lost").unlink()
    measure_on_device(remote, run / "bundles" / "here.zip", manifest.stem, result, Silent())
    assert open_result(result).keys() == open_result(measured / "bundle" / "result.zip").keys()
    assert not place.exists()


def test_a_device_that_cannot_measure_is_known_before_the_host_measures(shell, made_run, tmp_path, capsys):
    out, model = tmp_path / "run", made_run / "big.onnx"
    command = ["bench", str(model), "--no-accuracy", "--no-times", "--out", str(out), "--on", "ssh:pi"]
    assert main([*command, "--on-python", "none"]) == 3
    assert "pi has no working none" in capsys.readouterr().err
    assert main([*command, "--on-python", "my venv/python", "--target", "browser-wasm"]) == 3
    assert "a bundle measures with onnxruntime" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("command", ["ssh -F 'config", " "])
def test_what_replaces_ssh_is_a_command(command, monkeypatch):
    monkeypatch.setenv("KDBENCH_SSH", command)
    if command.strip():
        with pytest.raises(InputError, match="KDBENCH_SSH is not a command"):
            remote_of("ssh:pi")
    else:
        assert remote_of("ssh:pi").command == ("ssh",)


@pytest.mark.parametrize("place", ["pi@host", "ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:host:port", "ssh:a;b"])
def test_what_is_no_place_is_refused(place):
    with pytest.raises(InputError, match="is not a device") as refused:
        remote_of(place)
    assert "user@host" in refused.value.hint


def test_a_place_has_a_destination_and_may_have_a_port(monkeypatch):
    monkeypatch.delenv("KDBENCH_SSH", raising=False)
    assert remote_of("ssh:pi@pi.local").ssh("true") == ["ssh", "--", "pi@pi.local", "true"]
    assert remote_of("ssh:pi:2222").ssh("true") == ["ssh", "-p", "2222", "--", "pi", "true"]


def test_a_device_that_nobody_reaches_is_an_error_with_a_command_to_try(monkeypatch):
    monkeypatch.setenv("KDBENCH_SSH", "sh -c 'echo unreachable >&2; exit 255' ssh")
    with pytest.raises(InputError, match="no connection to pi: unreachable") as refused:
        software_of(remote_of("ssh:pi"))
    assert "by hand" in refused.value.hint
