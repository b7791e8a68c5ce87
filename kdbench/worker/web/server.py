"""Messages to and from a page or Node.js, over HTTP on this machine's own address; the page's files as well.

The page requests the next message and posts its response, so nothing connects to a browser's debugging port. The
address holds a secret: other programs of this machine cannot take part.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Reply = tuple[dict[str, Any], bytes]

_POLL_S = 60.0  # before Node.js gives up a request, which is after 300 s
_TYPES = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}
# Without these a page has one thread, and a clock of 100 µs.
_ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Server:
    """Serves the page's `files`, and `folders` by their names below `url`, and passes messages on.

    `isolated` adds the headers; `fetched` are the files that the other side has read.
    """

    def __init__(self, files: Path, folders: Mapping[str, Path], *, isolated: bool) -> None:
        self.fetched: list[str] = []
        self.headers = _ISOLATION if isolated else {}
        self.commands: queue.Queue[bytes] = queue.Queue()
        self.replies: queue.Queue[Reply | str] = queue.Queue()
        self._files, self._folders = files, folders
        self.prefix = f"/{secrets.token_urlsafe(16)}/"
        self._http = _Http(self)
        self.url = f"http://127.0.0.1:{self._http.server_port}{self.prefix[:-1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True, name="web").start()

    def send(self, command: Mapping[str, Any], content: bytes = b"") -> None:
        """Send a message: a line of JSON, then the bytes of its tensors."""
        self.commands.put(json.dumps(command).encode() + b"\n" + content)

    def reply(self, timeout_s: float) -> Reply | str | None:
        """Return the next response, a text where the page failed as a whole, or None if there is none in time."""
        try:
            return self.replies.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()

    def file(self, name: str) -> Path | None:
        """Return the file that `name` stands for: one of the page's own, or one in a served folder."""
        folder, _, inner = name.rpartition("/")
        if inner in {"", ".", ".."} or (folder and folder not in self._folders):
            return None
        path = (self._folders[folder] if folder else self._files) / inner
        return path if path.suffix in _TYPES and path.is_file() else None


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a response's body waits 40 ms until the page acknowledges its headers
    server: _Http

    def do_GET(self) -> None:
        """Answer with the next message, when there is one, or with a file."""
        owner, name = self.server.owner, self._name()
        if name == "next":
            try:
                self._answer(200, owner.commands.get(timeout=_POLL_S))
            except queue.Empty:
                self._answer(204)
        elif name is None or (path := owner.file(name)) is None:
            self._answer(404)
        else:
            owner.fetched.append(path.name)
            self._answer(200, path.read_bytes(), _TYPES[path.suffix])

    def do_POST(self) -> None:
        """Store a response, or why there will be none."""
        owner, name = self.server.owner, self._name()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if name == "done":
            line, _, content = body.partition(b"\n")
            owner.replies.put((json.loads(line), content))
        elif name == "failed":
            owner.replies.put(body.decode(errors="replace"))
        self._answer(204 if name in {"done", "failed"} else 404)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Say nothing: standard error is for failures."""

    def _name(self) -> str | None:
        """Return the name that the request names; None for a request without the secret."""
        prefix = self.server.owner.prefix
        return self.path[len(prefix) :] if self.path.startswith(prefix) else None

    def _answer(self, status: int, body: bytes = b"", kind: str = "application/octet-stream") -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Cache-Control", "no-store")
            for header, value in self.server.owner.headers.items():
                self.send_header(header, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the other side has ended
