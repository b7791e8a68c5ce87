"""Only requests with the secret are served, and they get the page's files and nothing else."""

import urllib.error
import urllib.request

import pytest

from kdbench.worker.web.server import Server


@pytest.fixture
def server(tmp_path):
    (tmp_path / "page.html").write_text("page")
    (tmp_path / "secret.txt").write_text("no page")
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "x.wasm").write_bytes(b"wasm")
    made = Server(tmp_path, {"dist": tmp_path / "dist"}, isolated=True)
    yield made
    made.close()


def get(url, body=None):
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=20) as answer:
        return answer.status, dict(answer.headers), answer.read()


def test_files_have_their_types_and_isolate_the_page(server):
    _, headers, body = get(f"{server.url}/page.html")
    assert (body, headers["Content-Type"]) == (b"page", "text/html")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert get(f"{server.url}/dist/x.wasm")[1]["Content-Type"] == "application/wasm"
    assert server.fetched == ["page.html", "x.wasm"]


@pytest.mark.parametrize(
    "path", ["/secret.txt", "/../page.html", "/dist/../page.html", "/etc/passwd", "/dist//etc/passwd", "/dist", "/"]
)
def test_nothing_else_is_served(server, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(server.url + path)
    assert refused.value.code == 404
    refused.value.close()


@pytest.mark.parametrize(("name", "body"), [("page.html", None), ("next", None), ("done", b"{}\n")])
def test_without_the_secret_nothing_is_answered(server, name, body):
    root = server.url.rsplit("/", 1)[0]
    for url in (f"{root}/{name}", f"{root}/guess/{name}"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(url, body)
        assert refused.value.code == 404
        refused.value.close()
    assert server.reply(0) is None


def test_messages_go_there_and_back(server):
    server.send({"do": "x"}, b"\n\x00")
    assert get(f"{server.url}/next")[2] == b'{"do": "x"}\n\n\x00'
    assert get(f"{server.url}/done", b'{"a": 1}\n\n\x01')[0] == 204
    assert server.reply(1) == ({"a": 1}, b"\n\x01")
    get(f"{server.url}/failed", b"it fell over")
    assert server.reply(1) == "it fell over"
