"""Locating the npm package onnxruntime-web and the programs that run it; nothing is downloaded."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

from kdbench.errors import InputError
from kdbench.files import storage

PACKAGE = "onnxruntime-web"
PACKAGE_VARIABLE = "KDBENCH_ONNXRUNTIME_WEB"
_PROGRAMS = {
    "chromium": (
        "KDBENCH_CHROMIUM",
        ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
        "install Chromium (Debian and Ubuntu: apt install chromium)",
    ),
    "node": ("KDBENCH_NODE", ("node", "nodejs"), "install Node.js 18 or later (Debian and Ubuntu: apt install nodejs)"),
}


def require(program: str) -> None:
    """Raise InputError, with the line that installs it, unless the npm package and `program` are installed."""
    package()
    program_path(program)


def package() -> Path:
    """Return the folder of the npm package: the one named by PACKAGE_VARIABLE, or that in the user's cache."""
    named = os.environ.get(PACKAGE_VARIABLE)
    kept = storage.user_cache() / "npm"
    path = storage.with_home(named).absolute() if named else kept / "node_modules" / PACKAGE
    if (path / "package.json").is_file() and (path / "dist").is_dir():
        return path
    line = f"npm install --prefix {shlex.quote(str(kept))} {PACKAGE}"
    if named:
        message = f"{PACKAGE_VARIABLE} names {named}, which is not the folder of the npm package {PACKAGE}"
        raise InputError(message, f"name …/node_modules/{PACKAGE}; or unset it and install the package: {line}")
    raise InputError(f"the npm package {PACKAGE} is not installed", f"{line}; or name its folder in {PACKAGE_VARIABLE}")


def version(folder: Path) -> str:
    """Return the version of the npm package in `folder`."""
    return str(json.loads((folder / "package.json").read_text(encoding="utf-8")).get("version", "unknown"))


def program_path(program: str) -> str:
    """Return the path of `chromium` or `node`, from its variable or from PATH; raises InputError if there is none."""
    variable, names, hint = _PROGRAMS[program]
    named = os.environ.get(variable)
    path = next(filter(None, map(shutil.which, [named] if named else names)), None)
    if path is None:
        message = f"{variable} names {named}, which is not a program" if named else f"{names[0]} is not installed"
        raise InputError(message, f"{hint}, or name the program in {variable}")
    return path
