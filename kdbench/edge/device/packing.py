"""The result of a measurement as one archive: what was measured as JSON, and the raw samples beside it.

`result.json` names the bundle, the device, the settings and the result of each step; `outputs/N.npy` and
`sessions/N.npz` are the files of the store.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kdbench.edge.device.measuring import STEPS
from kdbench.edge.device.store import SessionStore, Store, read_lines
from kdbench.edge.exchange.archive import Content, write_archive
from kdbench.edge.exchange.plan import Plan, Settings
from kdbench.files import storage

RESULT = "result.json"
RESULT_SCHEMA = 1


def pack(file: Path, store: Store, plan: Plan, identity: str, settings: Settings, *, complete: bool) -> None:
    """Write the result of what is in the store to `file`; `identity` is the bundle's id."""
    steps = {name: result for name in STEPS if (result := store.read(name)) is not None}
    if (sustaining := store.read("sustaining")) is not None:  # what an interruption left counts
        ended = store.read("sustained") or {"failed": ""}
        steps["sustained"] = {**sustaining, **ended, "complete": store.read("sustained") is not None}
    sessions = SessionStore(store, []).contents()
    content: dict[str, Any] = {
        "kind": "kdbench result",
        "schema": RESULT_SCHEMA,
        "bundle": identity,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "complete": complete,
        "device": store.read("device"),
        "settings": asdict(settings),
        "steps": steps,
        "sessions": sessions,
        "blocks": read_lines(store.sustained),
    }
    members: dict[str, Content] = {RESULT: (storage.json_text(content) + "\n").encode()}
    for number in range(len(plan.models)):
        if store.outputs(number).exists():
            members[f"outputs/{number}.npy"] = store.outputs(number)
    for session in sessions:
        samples = store.folder / "sessions" / f"{session['number']}.npz"
        if session["session"]["result"] is not None:
            members[f"sessions/{session['number']}.npz"] = samples
    storage.make_folder(file.parent)
    with storage.writing(file) as stream:
        write_archive(stream, members)
