"""Disks that fill up, and folders that cannot be written."""

import random
import subprocess
from pathlib import Path

from benchmarks.faults.commands import bench, leftovers, run

DISK_WORDS = ("the disk is full", "file size limit", "quota")


def full_file(rng: random.Random, place: Path) -> tuple[str, str]:
    """No file may exceed a few KiB, as on a disk that fills up while it is written."""
    blocks = rng.choice([1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128])
    shell = ("bash", "-c", f'ulimit -f {blocks}; exec "$@"', "bash")
    arguments = ("run", str(place / "recipe.toml"), "--out", str(place / "out"))
    code, text = run(place, *arguments, before=shell)
    return f"files of {blocks} KiB at most", _after_disk(place, code, text, arguments)


def full_disk(rng: random.Random, place: Path) -> tuple[str, str]:
    """Make the run's folder a disk of a few KiB; with space again the run continues."""
    size, disk = rng.choice([8, 16, 32, 48, 64, 96, 128, 160, 200, 256, 320, 400, 512]), place / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(disk)], check=True)
    try:
        arguments = ("run", str(place / "recipe.toml"), "--out", str(disk / "out"))
        code, text = run(place, *arguments)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        fault = _after_disk(place, code, text, arguments)
    finally:
        busy = subprocess.run(["umount", str(disk)], check=False).returncode != 0
        if busy:
            subprocess.run(["umount", "-l", str(disk)], check=True)
    left = "left a process that uses the disk" if busy else ""
    return f"a disk of {size} KiB", "; ".join(filter(None, [fault, left]))


def _after_disk(place: Path, code: int, text: str, arguments: tuple[str, ...]) -> str:
    if code == 0:
        return leftovers(place)
    faults = [] if code == 3 and any(words in text for words in DISK_WORDS) else [f"exit {code}: {text}"]
    faults += [left] if (left := leftovers(place)) else []
    resume = ("--resume",) if (Path(arguments[-1]) / "recipe.json").exists() else ()
    again, text = run(place, *arguments, *resume)
    return "; ".join([*faults, *([f"resume: exit {again}: {text}"] if again else [])])


def read_only(rng: random.Random, place: Path) -> tuple[str, str]:
    """/tmp and the current folder cannot be written: it measures elsewhere, or says so."""
    fixed = [f"mount --bind {d} {d}; mount -o remount,ro,bind {d}" for d in ("/tmp", "/var/tmp", "/dev/shm")]
    mount = f"mount --bind {place} {place}; mount -o remount,rw,bind {place}"  # what is below /tmp, too
    mounts = "; ".join([*fixed, mount])
    named = rng.random() < 0.5
    out = place / "out"
    inside = f'{mounts}; cd /tmp; exec "$@"'
    code, text = run(
        place,
        *bench(place),
        *(("--out", str(out)) if named else ()),
        before=("unshare", "-m", "bash", "-c", inside, "bash"),
        KDBENCH_LOCK_DIR="",
    )
    done = code == 0 and (out / "record.json").exists()
    fault = "" if done or (code == 3 and ("written" in text or "KDBENCH_LOCK_DIR" in text)) else f"exit {code}: {text}"
    return f"/tmp and . read-only, --out {'given' if named else 'not given'}", fault


def read_only_folder(rng: random.Random, place: Path) -> tuple[str, str]:
    """One of the folders that kdbench writes to cannot be written: it does without it, or says so."""
    name = rng.choice(["--out", "KDBENCH_CACHE", "KDBENCH_LOCK_DIR", "XDG_CACHE_HOME", "HOME"])
    folder = place / "fixed"
    folder.mkdir()
    inside = f'mount -t tmpfs -o ro tmpfs {folder}; exec "$@"'
    out = folder / "out" if name == "--out" else place / "out"
    variables = {} if name == "--out" else {name: str(folder / "below")}
    before = ("unshare", "-m", "bash", "-c", inside, "bash")
    arguments = ("--energy", "off", "--out", str(out))
    code, text = run(place, *bench(place), *arguments, before=before, **variables)
    needed = name in {"--out", "KDBENCH_LOCK_DIR"}
    done = code == 0 and (out / "record.json").exists()
    fault = "" if done or (needed and code == 3) else f"exit {code}: {text}"
    return f"{name} read-only", "; ".join(filter(None, [fault, leftovers(place)]))
