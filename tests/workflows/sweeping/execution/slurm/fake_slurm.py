"""sbatch, sacct and scancel for tests, which run jobs as processes of this machine on nodes that are only counted.

`python fake_slurm.py COMMAND …`; FAKE_SLURM names the folder with the state: nodes.json, and jobs as JSON files. As
Slurm does, it reads options from the script, gives a node that a job has exclusively to no other, lets jobs wait until
there is room, and refuses at once what no node could run. What a controller would do on its own, a test does with
`end_as`.
"""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

COMMANDS = ("sbatch", "srun", "sacct", "scancel")


class Slurm:
    """The state in a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    @classmethod
    def made(cls, folder, nodes, **limits):
        """Return a cluster of `nodes`: name, partition, cpus, features; `most_jobs` and `accounting` limit it."""
        (folder / "bin").mkdir(parents=True)
        (folder / "jobs").mkdir()
        (folder / "nodes.json").write_text(json.dumps(nodes))
        (folder / "limits.json").write_text(json.dumps(limits))
        for name in COMMANDS:
            path = folder / "bin" / name
            path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-S", __file__, name])} "$@"\n')
            path.chmod(0o755)
        return cls(folder)

    @property
    def environment(self):
        """What processes need to have these commands."""
        return {"FAKE_SLURM": str(self.folder), "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    @property
    def nodes(self):
        """The nodes."""
        return json.loads((self.folder / "nodes.json").read_text())

    @property
    def limits(self):
        """What is refused."""
        return json.loads((self.folder / "limits.json").read_text())

    def jobs(self):
        """Return all jobs, in their order."""
        return [json.loads(path.read_text()) for path in sorted((self.folder / "jobs").glob("[0-9]*.json"))]

    def job(self, id_):
        """Return a job."""
        return json.loads(self._file(id_).read_text())

    def write(self, job):
        """Write a job's state."""
        part = self._file(job["id"]).with_name(f".{job['id']}.{os.getpid()}")
        part.write_text(json.dumps(job))
        part.replace(self._file(job["id"]))

    def _file(self, id_):
        return self.folder / "jobs" / f"{int(id_):05}.json"

    @contextmanager
    def locked(self):
        """Be the only one that changes the state."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def end_as(self, id_, state):
        """End a job; it is queued again as PENDING, and else has that state."""
        with self.locked():
            job = self.job(id_)
            pid, job["pid"], job["state"] = job["pid"], None, state
            job["times"] += [[job["node"], job["began"], time.time()]] if pid else []
            self.write(job)
        if pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self.schedule()

    def refusal(self, requested):
        """Return why a job would never run; None if it could."""
        partitions = {node["partition"] for node in self.nodes}
        if requested.get("partition", self.nodes[0]["partition"]) not in partitions:
            return f"invalid partition specified: {requested['partition']}"
        return (
            None
            if any(fits(node, requested) for node in self.nodes)
            else "Requested node configuration is not available"
        )

    def schedule(self):
        """Start the jobs that there is room for."""
        with self.locked():
            jobs = self.jobs()
            running = [job for job in jobs if job["state"] == "RUNNING"]
            for job in [one for one in jobs if one["state"] == "PENDING"]:
                node = next((n for n in self.nodes if fits(n, job["asked"]) and has_room(n, job, running)), None)
                if node is not None:
                    job |= {"state": "RUNNING", "node": node["name"], "began": time.time()}
                    job["pid"] = self._started(job)
                    self.write(job)
                    running.append(job)

    def _started(self, job):
        of_slurm = {
            "SLURM_JOB_ID": job["id"],
            "SLURM_NTASKS": "4",
            "SLURM_PROCID": "0",
            "SLURM_JOB_NODELIST": job["node"],
        }
        out, error = (open(job["asked"][key].replace("%j", job["id"]), "ab") for key in ("output", "error"))  # noqa: SIM115, PTH123
        command = [sys.executable, "-S", __file__, "supervise", job["id"]]
        process = subprocess.Popen(
            command,
            env={**os.environ, **of_slurm},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            start_new_session=True,
        )
        return process.pid

    def supervise(self, id_):
        """Run a job's script, and note its end."""
        code = subprocess.run(["bash", self.job(id_)["script"]], check=False).returncode
        with self.locked():
            job = self.job(id_)
            if job["pid"] == os.getpid():
                job["times"].append([job["node"], job["began"], time.time()])
                job |= {"state": "FAILED" if code else "COMPLETED", "pid": None}
                self.write(job)
        self.schedule()


def fits(node, requested):
    """Return whether a job could run on a node if nothing else did."""
    return (
        requested.get("partition", node["partition"]) == node["partition"]
        and requested.get("constraint") in {None, *node["features"]}
        and requested.get("nodelist") in {None, node["name"]}
        and int(requested.get("cpus-per-task", 1)) <= node["cpus"]
        and int(requested.get("gpus-per-node", 0)) == 0
    )


def has_room(node, job, running):
    """Return whether a node has room beside what runs on it."""
    there = [one for one in running if one["node"] == node["name"]]
    if any("exclusive" in one["asked"] for one in there) or (there and "exclusive" in job["asked"]):
        return False
    return sum(int(one["asked"].get("cpus-per-task", 1)) for one in [*there, job]) <= node["cpus"]


def options_of(arguments):
    """Return the options --KEY=VALUE among some words."""
    pairs = (word[2:].partition("=") for word in arguments if word.startswith("--"))
    return {key: value or True for key, _, value in pairs}


def sbatch(slurm, arguments):
    """Queue a job, or tell whether it could run."""
    if "--test-only" in arguments:
        reason = slurm.refusal(options_of(arguments))
        sys.stderr.write(f"allocation failure: {reason}\n" if reason else "sbatch: Job 1 to start at now\n")
        return 1 if reason else 0
    script = Path(arguments[-1])
    lines = [shlex.split(line)[1:] for line in script.read_text().splitlines() if line.startswith("#SBATCH ")]
    requested = options_of([word for line in lines for word in line])
    with slurm.locked():
        jobs = slurm.jobs()
        queued = sum(job["state"] in {"PENDING", "RUNNING"} for job in jobs)
        if reason := slurm.refusal(requested) or (queued >= slurm.limits.get("most_jobs", 1000) and "job submit limit"):
            sys.stderr.write(f"sbatch: error: Batch job submission failed: {reason}\n")
            return 1
        id_ = str(len(jobs) + 1)
        copy = slurm.folder / "jobs" / f"script-{id_}.sh"  # as Slurm keeps one
        copy.write_text(script.read_text())
        slurm.write({"id": id_, "state": "PENDING", "asked": requested, "script": str(copy), "pid": None, "times": []})
    slurm.schedule()
    sys.stdout.write(f"Submitted batch job {id_}\n")
    return 0


def sacct(slurm, arguments):
    """Write the states of jobs."""
    if not slurm.limits.get("accounting", True):
        sys.stderr.write("Slurm accounting storage is disabled\n")
        return 1
    wanted = {arguments[place + 1] for place, word in enumerate(arguments) if word == "-j"}
    sys.stdout.write("JobID|State|NodeList\n")
    for job in slurm.jobs():
        if job["id"] in wanted:
            state = "CANCELLED by 1000" if job["state"] == "CANCELLED" else job["state"]
            sys.stdout.write(f"{job['id']}|{state}|{job.get('node', '')}\n{job['id']}.batch|{job['state']}|\n")
    return 0


def scancel(slurm, arguments):
    """Cancel jobs."""
    for id_ in arguments:
        if slurm.job(id_)["state"] in {"PENDING", "RUNNING"}:
            slurm.end_as(id_, "CANCELLED")
    return 0


if __name__ == "__main__":
    state, (name, *rest) = Slurm(os.environ["FAKE_SLURM"]), sys.argv[1:]
    if name == "supervise":
        state.supervise(*rest)
    else:
        sys.exit({"sbatch": sbatch, "sacct": sacct, "scancel": scancel}[name](state, rest))
