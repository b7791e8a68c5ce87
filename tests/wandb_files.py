"""What Weights & Biases' own messages say in the files of offline runs."""

import json
import struct


def messages(path):
    """Yield the records of an offline run: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def runs_of(folder):
    """Return the messages of each run, the oldest first, once Weights & Biases' process has written them."""
    import wandb

    wandb.teardown()
    return [list(messages(path)) for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb"))]


def named(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def summary_of(run):
    """Return the summary of a run's messages."""
    summary = {}
    for message in run:
        if message.WhichOneof("record_type") == "summary":
            summary |= named(message.summary.update)
    return summary


def started(run):
    """Return the message with the run's name, project and configuration."""
    return next(message.run for message in run if message.WhichOneof("record_type") == "run")
