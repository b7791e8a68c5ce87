import webbrowser

import pytest


class Browser:
    """A browser with a window of its own."""

    def __init__(self, began=True):
        self.began, self.opened = began, []

    def open(self, url):
        self.opened.append(url)
        return self.began


@pytest.fixture
def run(tmp_path, record):
    folder = tmp_path / "a run #1"
    folder.mkdir()
    record.write(folder / "record.json")
    (folder / "report.html").touch()
    return folder


@pytest.fixture
def browser(monkeypatch):
    monkeypatch.delenv("BROWSER", raising=False)

    def use(kind):
        monkeypatch.setattr(webbrowser, "get", lambda: kind)
        return kind

    return use


def test_the_page_is_opened_as_a_file(run_cli, run, browser):
    window = browser(Browser())
    ended = run_cli("open", run)
    assert (ended.code, ended.out, ended.err) == (0, f"{run / 'report.html'}\n", "")
    assert window.opened == [(run / "report.html").as_uri()]
    assert "%23" in window.opened[0]
    assert run_cli("open", run, "--json").json == {"file": str(run / "report.html"), "opened": True}


def test_without_a_browser_the_path_is_printed(run_cli, run, browser, monkeypatch):
    def none():
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", none)
    ended = run_cli("open", run / "report.html")
    assert (ended.code, ended.out) == (0, f"{run / 'report.html'}\n")
    assert "no browser" in ended.err
    browser(Browser(began=False))
    assert run_cli("open", run, "--json").json["opened"] is False


def test_a_browser_for_the_terminal_is_used_only_where_it_was_chosen(run_cli, run, browser, monkeypatch):
    text = browser(webbrowser.GenericBrowser("true"))
    assert run_cli("open", run, "--json").json["opened"] is False
    monkeypatch.setenv("BROWSER", "true")
    assert text.name == "true"
    assert run_cli("open", run, "--json").json["opened"] is True


def test_a_run_without_the_page_is_told_how_to_write_it(run_cli, run, browser):
    window = browser(Browser())
    (run / "report.html").rename(run / "report.md")
    ended = run_cli("open", run)
    assert ended.code == 3
    assert f"kdbench report '{run}' --format html" in ended.err
    (run / "report.md").rename(run / "report.html")
    (run / "record.json").rename(run / "copy.json")  # the page may be another record's
    assert run_cli("open", run / "copy.json").code == 3
    assert not window.opened
