"""A device that the user's own ssh reaches: copy a bundle there, run it, and fetch the result.

Only `ssh` is called, with the user's keys and configuration; files travel through its standard input and output.
KDBENCH_SSH is the command in its place, such as `ssh -F other_config`.
"""

import json
import os
import re
import shlex
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kdbench.errors import InputError, MeasurementError
from kdbench.files import storage
from kdbench.progress import Progress

COMMAND_VARIABLE = "KDBENCH_SSH"
_PLACE = re.compile(r"ssh:(?P<destination>[A-Za-z0-9_][A-Za-z0-9_.@%-]*)(?::(?P<port>\d{1,5}))?")
_HOME = re.compile(r"~[A-Za-z0-9_.-]*/")
_INTERRUPTED = 130
_LAST_LINES = 3
_NO_CONNECTION = 255  # ssh's own exit code
_ASKS = "import json, platform, sys; from importlib import metadata as m\n"
_ASKS += "def v(n):\n  try: return m.version(n)\n  except m.PackageNotFoundError: return None\n"
_ASKS += "print(json.dumps({n: v(n) for n in ('numpy', 'onnxruntime', 'onnxruntime-gpu')} | {'python': "
_ASKS += "platform.python_version()}))"


@dataclass(frozen=True)
class Remote:
    """Where ssh leads, and the Python there; `command` is ssh with its options."""

    destination: str
    port: int | None = None
    python: str = "python3"
    command: tuple[str, ...] = ("ssh",)

    @property
    def quoted_python(self) -> str:
        """The Python as a word of a shell script; a `~` in front is the home folder there."""
        home = _HOME.match(self.python)
        return shlex.quote(self.python) if home is None else home[0] + shlex.quote(self.python[home.end() :])

    def ssh(self, script: str) -> list[str]:
        """Return the command that runs a shell script there."""
        port = [] if self.port is None else ["-p", str(self.port)]
        return [*self.command, *port, "--", self.destination, script]


@dataclass(frozen=True)
class Software:
    """The versions on a device that decide what it loads."""

    python: str
    onnxruntime: str


def remote_of(text: str, python: str | None = None) -> Remote:
    """Read `ssh:user@host` or `ssh:user@host:port`; raises InputError."""
    match = _PLACE.fullmatch(text)
    if match is None:
        hint = "write ssh:user@host, ssh:user@host:2222, or ssh:NAME of your ~/.ssh/config"
        raise InputError(f"--on: {text!r} is not a device", hint)
    try:
        command = shlex.split(os.environ.get(COMMAND_VARIABLE, "")) or ["ssh"]
    except ValueError as error:
        hint = f"for example {COMMAND_VARIABLE}='ssh -F other_config'"
        raise InputError(f"{COMMAND_VARIABLE} is not a command: {error}", hint) from None
    port = match["port"]
    return Remote(match["destination"], int(port) if port else None, python or "python3", tuple(command))


def software_of(remote: Remote) -> Software:
    """Return the versions on the device; raises InputError where it cannot be reached, or lacks a library."""
    answer = _run(remote, f"{remote.quoted_python} -c {shlex.quote(_ASKS)}")
    try:
        versions: dict[str, str | None] = json.loads(answer.stdout.decode().strip().splitlines()[-1])
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        message = f"{remote.destination} has no working {remote.python}: {_last(answer.stderr)}"
        raise InputError(message, "name the Python there with --on-python, 3.9 or later") from error
    runtime = versions.get("onnxruntime") or versions.get("onnxruntime-gpu")
    missing = [name for name, there in (("numpy", versions.get("numpy")), ("onnxruntime", runtime)) if not there]
    if missing or runtime is None:
        hint = f"on the device: {remote.python} -m pip install {' '.join(missing)}"
        raise InputError(f"{remote.destination} has no {' and no '.join(missing)} for its {remote.python}", hint)
    return Software(str(versions["python"]), runtime)


def measure_on_device(remote: Remote, bundle: Path, identity: str, result: Path, progress: Progress) -> None:
    """Measure the archive `bundle`, whose id is `identity`, on the device and write its result to the file `result`.

    An interrupted measurement continues when the same bundle is sent again. Raises InputError for a device that refuses
    the bundle, MeasurementError for one that fails.
    """
    place, python = f".cache/kdbench/{identity[:16]}", remote.quoted_python  # both may be relative to the home folder
    with bundle.open("rb") as stream:
        _checked(_run(remote, f"mkdir -p {place} && cat > {place}/bundle.zip", stream), remote)
    unpack = f"{python} -I -m zipfile -e {place}/bundle.zip {place} && rm {place}/bundle.zip"
    _checked(_run(remote, unpack), remote)
    command = f"{python} {place}/run.py"
    code, last = _follow(remote, f"exec {command} --fetched", progress)
    if code == _NO_CONNECTION:
        hint = f"there, {command} continues it; then merge its {place}/result.zip here"
        raise MeasurementError(f"the connection to {remote.destination} ended: {last}", hint)
    if code not in {0, _INTERRUPTED}:
        kind = InputError if code == InputError.exit_code else MeasurementError
        raise kind(
            f"measuring on {remote.destination} ended with exit code {code}: {last}",
            "see the last lines of its output above",
        )
    fetched = _run(remote, f"printf %s {identity} && cat {place}/result.zip")
    _checked(fetched, remote)
    with storage.writing(result) as file:  # the shell there may greet on its standard output
        file.write(fetched.stdout.partition(identity.encode())[2])
    with suppress(InputError, MeasurementError):  # the files left there are small, and were fetched
        _run(remote, f"rm -rf {place}")


def _run(
    remote: Remote, script: str, stdin: IO[bytes] | int = subprocess.DEVNULL
) -> "subprocess.CompletedProcess[bytes]":
    try:
        done = subprocess.run(remote.ssh(script), stdin=stdin, capture_output=True, check=False)
    except OSError as error:
        message = f"{remote.command[0]} cannot be started: {error.strerror or error}"
        raise InputError(message, f"install OpenSSH's client, or set {COMMAND_VARIABLE}") from error
    if done.returncode == _NO_CONNECTION:
        message = f"no connection to {remote.destination}: {_last(done.stderr)}"
        raise InputError(message, f"try it by hand: {shlex.join(remote.ssh('true'))}")
    return done


def _checked(done: "subprocess.CompletedProcess[bytes]", remote: Remote) -> None:
    if done.returncode:
        message = f"{remote.destination}: {_last(done.stderr) or f'exit code {done.returncode}'}"
        raise MeasurementError(message, "check that its home folder has space")


def _follow(remote: Remote, script: str, progress: Progress) -> tuple[int, str]:
    """Run a script on the device and pass its lines on; return its exit code and its last lines."""
    lines: list[str] = []
    with subprocess.Popen(  # run.py ends with its standard input, so that nothing stays there after Ctrl-C here
        remote.ssh(script), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            text = line.decode(errors="replace").rstrip()
            if text:
                progress.note(f"{remote.destination}: {text}")
                lines = [*lines, text][-_LAST_LINES:]
        code = process.wait()
    return code, " | ".join(lines)


def _last(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-_LAST_LINES:])
