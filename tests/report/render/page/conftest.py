"""A headless Chromium, driven through its DevTools protocol over a pipe: no driver, no port, no network."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_S = 30.0


class Browser:
    """A browser process; `send` sends a command and returns the answer; `events` holds the events received meanwhile.

    Messages are JSON that end with a zero byte: to the browser on its descriptor 3, from it on 4
    (https://chromedevtools.github.io/devtools-protocol/, `--remote-debugging-pipe`).
    """

    def __init__(self, program: str, profile: Path) -> None:
        browser_in, send_end = os.pipe()
        receive_end, browser_out = os.pipe()
        os.set_inheritable(browser_in, True)
        os.set_inheritable(browser_out, True)
        # The shell puts the pipes where the browser looks for them, regardless of their numbers here.
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += [f"--user-data-dir={profile}", "--remote-debugging-pipe", "--no-first-run", "about:blank"]
        with (profile.parent / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", f'exec "$@" 3<&{browser_in} 4>&{browser_out}', "bash", *command],
                pass_fds=(browser_in, browser_out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(browser_in)
        os.close(browser_out)
        self._in, self._out, self._buffer, self._count = send_end, receive_end, b"", 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def receive(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            ready, *_ = select.select([self._out], [], [], max(end - time.monotonic(), 0))
            chunk = os.read(self._out, 1 << 16) if ready else b""
            assert chunk, "the browser says nothing more"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        with suppress(AssertionError, OSError):
            self.send("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)


class Page:
    """A tab in a context of its own, from its opening on: what it logs, and what it asks the network for."""

    def __init__(self, browser: Browser, *, width: int = 1280, height: int = 900) -> None:
        self._browser = browser
        browser.events.clear()
        self._context = browser.send("Target.createBrowserContext")["browserContextId"]
        target = browser.send("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.send(method, self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, *, scheme: str = "light", media: str = "") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, path: Path) -> None:
        before = len(self.events_of("Page.loadEventFired"))
        self.send("Page.navigate", url=path.as_uri())
        while len(self.events_of("Page.loadEventFired")) == before:
            self._browser.events.append(self._browser.receive())

    def evaluate(self, expression: str) -> Any:
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def events_of(self, method: str) -> list[dict[str, Any]]:
        """Return what events of one kind told so far."""
        return [event["params"] for event in self._browser.events if event.get("method") == method]

    def complaints(self) -> list[str]:
        """Return errors and warnings: of scripts, of the security policy, of what could not be loaded."""
        self.evaluate("0")  # what was sent before this answer has arrived
        logged = [entry["entry"] for entry in self.events_of("Log.entryAdded")]
        messages = [
            call["args"] for call in self.events_of("Runtime.consoleAPICalled") if call["type"] in {"error", "warning"}
        ]
        return [
            *(f"{entry['source']}: {entry['text']}" for entry in logged if entry["level"] in {"error", "warning"}),
            *(str(arguments) for arguments in messages),
            *(str(thrown["exceptionDetails"]) for thrown in self.events_of("Runtime.exceptionThrown")),
        ]

    def requested(self) -> list[str]:
        """Return the addresses that were asked for, embedded data aside."""
        sent = [request["request"]["url"] for request in self.events_of("Network.requestWillBeSent")]
        return [url for url in sent if not url.startswith("data:")]

    def pdf(self) -> bytes:
        return base64.b64decode(self.send("Page.printToPDF", printBackground=False)["data"])

    def screenshot(self, *, full_page: bool = False) -> bytes:
        return base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=full_page)["data"])

    def close(self) -> None:
        self._browser.send("Target.disposeBrowserContext", browserContextId=self._context)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of a module; they skip where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is on the PATH")
    started = Browser(program, tmp_path_factory.mktemp("browser") / "profile")
    yield started
    started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = Page(browser)
    yield opened
    opened.close()
