"""Build the documentation site: the repository's pages, and a reference generated from the code.

    python docs/site/build.py [--out FOLDER]        the finished site (default: build/site)

The pages keep their places: a link between two pages works on a code host and in the site. A link to another file of
the repository, such as source code, leads to the code host. A dead link ends the build with exit code 1.
"""

import argparse
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import reference

ROOT = Path(__file__).resolve().parents[2]
HOST = "https://github.com/kdbench/kdbench"
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md", "reports/**/*.md")
SAMPLES = "reports/*/report.md"  # many pages that begin alike
ASSETS = ("docs/*.ipynb", "docs/**/*.svg", "reports/**/*.svg", "reports/**/*.html", "reports/**/*.json")
_NOT_FOUND = "---\nsearch:\n  exclude: true\n---\n\n"
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^\s*(```|~~~)")
_CODE = re.compile(r"(`+)[^`].*?\1")


def staged(path: str) -> str:
    """Return where a page of the repository lies in the site: README.md is its first page."""
    return "index.md" if path == "README.md" else path


def stage(root: Path, folder: Path) -> list[str]:
    """Copy pages and their figures to `folder`, with links as the site needs them; return the links that are dead."""
    pages = {path.relative_to(root).as_posix() for pattern in PAGES for path in root.glob(pattern)}
    assets = {path.relative_to(root).as_posix() for pattern in ASSETS for path in root.glob(pattern)}
    dead = []
    for page in sorted(pages):
        text, lost = relinked((root / page).read_text(encoding="utf-8"), page, root, pages | assets)
        dead += lost
        _write(folder / staged(page), (_NOT_FOUND if fnmatch(page, SAMPLES) else "") + with_pipes(text))
    for asset in assets:
        (folder / asset).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / asset, folder / asset)
    return dead


def relinked(text: str, page: str, root: Path, known: set[str]) -> tuple[str, list[str]]:
    """Return the text of `page` with its links as in the site, and the links that lead nowhere.

    `known` are the repository's files that are in the site.
    """
    dead: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        before, link, after = match.groups()
        parts = urlsplit(link)
        if parts.scheme or not parts.path:
            return match.group()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
        anchor = f"#{parts.fragment}" if parts.fragment else ""
        if target in known:
            return f"{before}{posixpath.relpath(staged(target), posixpath.dirname(staged(page)))}{anchor}{after}"
        if not (root / target).exists():
            dead.append(f"{page}: {link}")
            return match.group()
        return f"{before}{HOST}/{'tree' if (root / target).is_dir() else 'blob'}/main/{target}{anchor}{after}"

    lines, fenced = [], False
    for line in text.splitlines(keepends=True):
        fenced ^= bool(_FENCE.match(line))
        lines.append(line if fenced else _LINK.sub(replaced, line))
    return "".join(lines), dead


def with_pipes(text: str) -> str:
    r"""Return Markdown whose code in tables has `|` in place of `\|`.

    A code host needs the backslash there; Python-Markdown shows it.
    """
    lines = text.splitlines(keepends=True)
    rows = (_CODE.sub(lambda code: code.group().replace("\\|", "|"), line) for line in lines)
    return "".join(row if line.startswith("|") else line for line, row in zip(lines, rows, strict=True))


def dead_links(site: Path) -> Iterator[str]:
    """Yield each link of the finished site whose page or heading does not exist."""
    pages = {path: _Page.of(path) for path in site.rglob("*.html") if "report.html" not in path.name}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors
            ):
                yield f"{path.relative_to(site)}: {link}"


class _Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()

    @classmethod
    def of(cls, path: Path) -> "_Page":
        page = cls()
        page.feed(path.read_text(encoding="utf-8"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif value and ((tag, name) in {("a", "href"), ("img", "src")}):
                self.links.add(value)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def build(out: Path) -> list[str]:
    """Build the site in `out`; return what is wrong with its links."""
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary).resolve()
        dead = stage(ROOT, project / "pages")
        for name, text in reference.pages().items():
            _write(project / "pages" / "reference" / name, with_pipes(text))
        shutil.copyfile(ROOT / "docs" / "site" / "site.css", project / "pages" / "site.css")
        shutil.copytree(ROOT / "docs" / "site" / "theme", project / "theme")
        configuration = (ROOT / "docs" / "site" / "zensical.toml").read_text(encoding="utf-8")
        _write(project / "zensical.toml", configuration.replace("@ROOT@", ROOT.as_posix()))
        subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=project, check=True)
        dead += dead_links(project / "site")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(project / "site", out)
    return dead


def main() -> int:
    """Build the site and say which links are dead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", metavar="FOLDER")
    out = parser.parse_args().out
    dead = build(out)
    for link in dead:
        print(f"dead link: {link}", file=sys.stderr)
    print(f"{out}: {sum(1 for _ in out.rglob('*.html'))} pages, {len(dead)} dead links")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
