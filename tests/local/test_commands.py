"""The `longshore` command as people and programs meet it: its words, its exit codes, and what it says to mistakes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from longshore.names import job_name
from longshore_kit.ambassador import create_app
from longshore_kit.conform import SourceContract, WorkerContract
from longshore_kit.conform.rules import rules_of
from support.ambassadors import MemorySource, serving
from support.runs import LocalRun
from support.terminals import Terminal
from support.wrong_ambassadors import NAMES, right_with, served

COMMAND = Path(sys.executable).with_name("longshore")
EXAMPLE = Path(__file__).parents[2] / "examples/01-thumbnails/queue.yaml"
ODD = "new\nline \x1b[31m.txt"
REFUSED = "[Errno 111] Connection refused; start the ambassador first, and see where it listens"
NOT_THERE = "[Errno 2] No such file or directory: 'nonexist'; name a program that can be started here"
ODD_SHOWN = r"new\nline \x1b[31m.txt"
RIGHT_WORKER = """\
set -eu
trap 'exit 143' TERM
grep -q '}$' "$WORK_ITEM_FILE"
printf done > "$LONGSHORE_RESULT_FILE"
for step in 1 2 3 4 5 6 7 8; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> LocalRun:
    """A queue that has been run: two items done, one failed, one that came later. Only to be looked at."""
    run = LocalRun(tmp_path_factory.mktemp("worked"))
    run.add_items("good.txt", "bad.txt", ODD)
    run.define('case "$1" in bad*) echo "no video stream" >&2; exit 65;; esac; echo made > "$LONGSHORE_RESULT_FILE"')
    assert run.run().returncode == 1
    run.add_items("later.txt")
    return run


@pytest.fixture(scope="session")
def bash() -> str:
    """The shell that most people type into."""
    return shutil.which("bash") or pytest.skip("bash is not installed: apt-get install bash")


def in_bash(bash: str, script: str) -> subprocess.CompletedProcess[str]:
    """A script in which `longshore` is the one under test."""
    environ = os.environ | {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
    return subprocess.run([bash, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False)


def out(ended: subprocess.CompletedProcess[str]) -> str:
    """What a command printed that went well and had nothing to complain of."""
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def timeless(text: str) -> str:
    """Without clocks and durations, which differ from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<clock>", text)
    return re.sub(r"\d+(\.\d)? (s|min \d+ s|min)\b", "<age>", text)


def cells(table: str) -> list[list[str]]:
    """A table's rows, by columns that two spaces part; an empty cell is none."""
    return [re.split(r" {2,}", line.strip()) for line in timeless(table).splitlines()]


def outcomes(printed: str) -> dict[str, str]:
    """What `conform` says of each rule: the last line, a sum, is left out."""
    lines = [re.match(r"(\w+) +(.*?)  ", line) for line in printed.splitlines()[:-1]]
    return {line[2]: line[1] for line in lines if line}


def titles(contract: type[Any]) -> list[str]:
    """The rules of a contract as `conform` writes them."""
    return [rule.removeprefix("test_").replace("_", " ") for rule in rules_of(contract)]


COMMANDS = [
    *("init", "check", "run", "status", "top", "ls", "explain", "logs", "dead", "retry", "rerun"),
    *("pause", "resume", "drain", "doctor", "manifest", "schema", "conform"),
]


@pytest.mark.parametrize(
    "command",
    ["", *COMMANDS, "conform source", "conform worker"],
)
def test_help(local: LocalRun, command: str, snapshot: SnapshotAssertion) -> None:
    """What each command does, its options and its exit codes; a change of these words is made on purpose."""
    assert out(local.longshore(*command.split(), "--help")) == snapshot


def test_as_a_part_of_kubectl_it_has_what_is_about_a_cluster() -> None:
    """`kubectl longshore` finds it by its other name; what runs or checks files of this machine is not there."""
    plugin = COMMAND.with_name("kubectl-longshore")
    ended = subprocess.run([plugin, "--help"], capture_output=True, text=True, timeout=60, check=True)

    commands = ended.stdout.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    offered = ["status", "top", "ls", "explain", "logs", "dead", "retry", "rerun", "pause", "resume", "drain", "doctor"]
    offered += ["manifest"]
    assert [line.split()[0] for line in commands if line.startswith("  ") and not line.startswith("   ")] == offered


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("longshore ", COMMANDS),
        ("longshore e", ["explain"]),
        ("longshore conform ", ["source", "worker"]),
        ("longshore ls --state", ["--state", "--state-folder"]),
        ("longshore ls --state ", ["waiting", "starting", "running", "done", "failed"]),
        ("longshore manifest -o ", ["yaml", "json"]),
    ],
)
def test_bash_is_offered_what_may_follow(words: str, offered: list[str]) -> None:
    """Commands, options and their values are completed."""
    index = len(words.split(" ")) - 1
    environ = {"_LONGSHORE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(index)}
    ended = subprocess.run([COMMAND], env=environ, capture_output=True, text=True, timeout=60, check=True)

    assert (ended.stdout.split(), ended.stderr) == (offered, "")


def test_bash_takes_the_completion(bash: str) -> None:
    """The script that `--show-completion` gives works in bash itself."""
    script = """
    eval "$(_LONGSHORE_COMPLETE=source_bash longshore)"
    COMP_WORDS=(longshore conform "") COMP_CWORD=2
    _longshore_completion longshore
    echo "${COMPREPLY[@]}"
    """

    assert out(in_bash(bash, script)) == "source worker\n"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_each_shell_can_read_its_completion(name: str) -> None:
    """What is printed when it is asked for in that shell, and what is for it when another one asks."""
    shell = shutil.which(name) or pytest.skip(f"{name} is not installed: apt-get install {name}")
    environ = os.environ | {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
    # `true` keeps the shell there: with one command alone it would become that command.
    typed = [shell, "-c", "longshore --show-completion; true"]
    here = subprocess.run(typed, env=environ, capture_output=True, text=True, timeout=60, check=True)
    asked = environ | {"_LONGSHORE_COMPLETE": f"source_{name}"}
    there = subprocess.run([COMMAND], env=asked, capture_output=True, text=True, timeout=60, check=True)

    assert f"complete_{name}" in there.stdout
    assert here.stdout.strip() == there.stdout.strip()
    read = subprocess.run([shell, "-n"], input=there.stdout, capture_output=True, text=True, timeout=60, check=False)
    assert (read.returncode, read.stderr) == (0, "")


def test_ls_shows_a_table(worked: LocalRun) -> None:
    """A row per item, the lively ones first; what a terminal would obey is spelled out; wide adds attempts and Jobs."""
    table, wide = (cells(out(worked.longshore("ls", str(worked.file), "-o", form))) for form in ("table", "wide"))

    assert wide == [
        ["STATE", "ITEM", "FOR", "ATTEMPT", "JOB", "REASON OR RESULT"],
        ["waiting", "later.txt"],
        ["done", "good.txt", "<age>", "1", job_name("local", "good.txt"), "made"],
        ["done", ODD_SHOWN, "<age>", "1", job_name("local", ODD), "made"],
        ["failed", "bad.txt", "<age>", "1", job_name("local", "bad.txt"), "no video stream"],
    ]
    assert table == [[cell for index, cell in enumerate(row) if index not in {3, 4}] for row in wide]


def test_ls_json_is_exact(worked: LocalRun) -> None:
    """Programs get names as they are, and times as numbers, or null while an item waits."""
    rows = worked.rows()
    timed = {row["item"]: isinstance(row.pop("since"), float) for row in rows}
    made = {"state": "done", "attempt": 1, "reason": "made", "stage": "", "exit_code": 0}

    assert rows == [
        {
            "item": "later.txt",
            "state": "waiting",
            "attempt": 0,
            "reason": "",
            "job": "",
            "stage": "",
            "exit_code": None,
        },
        {"item": "good.txt", "job": job_name("local", "good.txt")} | made,
        {"item": ODD, "job": job_name("local", ODD)} | made,
        {"item": "bad.txt", "job": job_name("local", "bad.txt")}
        | {"state": "failed", "attempt": 1, "reason": "no video stream", "stage": "", "exit_code": 65},
    ]
    assert timed == {"later.txt": False, "good.txt": True, ODD: True, "bad.txt": True}


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], ["later.txt", "good.txt", ODD_SHOWN, "bad.txt"]),
        (["--state", "done"], ["good.txt", ODD_SHOWN]),
        (["--state", "failed", "-s", "waiting"], ["later.txt", "bad.txt"]),
        (["--state", "running"], []),
        (["--reason", "VIDEO Stream"], ["bad.txt"]),
        (["--reason", "made", "--state", "failed"], []),
        (["--newer", "1d"], ["good.txt", ODD_SHOWN, "bad.txt"]),
        (["--older", "1d"], []),
        (["--older", "0s", "--newer", "2h", "--reason", "made"], ["good.txt", ODD_SHOWN]),
    ],
)
def test_ls_names_are_one_a_line(worked: LocalRun, options: list[str], lines: list[str]) -> None:
    """Whatever is in a name, it takes one line; state, reason and age choose, together too."""
    assert out(worked.longshore("ls", str(worked.file), "-o", "name", *options)).splitlines() == lines


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ("good.txt", "good.txt is done since <clock> (<age>), after <age> of work in 1 attempt: made.\n"),
        (ODD, f"{ODD_SHOWN} is done since <clock> (<age>), after <age> of work in 1 attempt: made.\n"),
        (
            "bad.txt",
            "bad.txt failed since <clock> (<age>) after 1 attempt, exit code 65: no video stream. Once mended: RETRY\n",
        ),
        ("later.txt", "later.txt is waiting: no manager is running. Start one: RUN\n"),
    ],
)
def test_explain_says_where_an_item_stands(worked: LocalRun, item: str, sentence: str) -> None:
    """One sentence: the state, since when, why, and what to do next."""
    said = out(worked.longshore("explain", str(worked.file), item))
    said = said.replace(f"longshore retry {worked.file} {item}", "RETRY").replace(f"longshore run {worked.file}", "RUN")

    assert timeless(said) == sentence


@pytest.mark.parametrize(
    ("item", "hint"),
    [("zzz", ""), ("laterr.txt", "; did you mean later.txt?"), ("god.txt", "; did you mean good.txt or bad.txt?")],
)
def test_explain_of_an_unknown_item_names_its_like(worked: LocalRun, item: str, hint: str) -> None:
    """Exit code 1, and each name that was perhaps meant, once."""
    ended = worked.longshore("explain", str(worked.file), item)

    said = f"longshore: the source has no item '{item}': '{item}' is no item: No such file or directory{hint}\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", said)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (".", "it's bad"),
        (".", "bad\nline \x1b[31m"),
        (".", "-rf"),
        ("a b", "bad"),
    ],
)
def test_what_explain_says_to_type_works(tmp_path: Path, bash: str, folder: str, name: str) -> None:
    """The command that mends a failed item can be pasted into a shell, whatever the item and the folder are called."""
    local = LocalRun(tmp_path / folder)
    local.add_items(name)
    local.define("exit 65")
    local.run()
    said = out(local.longshore("explain", str(local.file), "--", name))

    out(in_bash(bash, said.partition("Once mended: ")[2]))

    assert local.states() == {name: "waiting"}


def test_dead_lists_what_has_failed(worked: LocalRun) -> None:
    """The dead letters and their reasons, in every form that ls has."""
    table, names = (out(worked.longshore("dead", str(worked.file), "-o", form)) for form in ("table", "name"))
    other = out(worked.longshore("dead", str(worked.file), "--reason", "disk", "-o", "name"))

    assert cells(table) == [
        ["STATE", "ITEM", "FOR", "REASON OR RESULT"],
        ["failed", "bad.txt", "<age>", "no video stream"],
    ]
    assert (names, other) == ("bad.txt\n", "")


def test_logs_prints_what_a_failed_worker_wrote(worked: LocalRun) -> None:
    """What is kept is printed as it is; of a done item nothing is, and the way to its result is said."""
    kept, gone, unknown = (worked.longshore("logs", str(worked.file), item) for item in ("bad.txt", "good.txt", "x"))

    assert (kept.returncode, kept.stdout, kept.stderr) == (0, "no video stream\n", "")
    hint = f"longshore explain {worked.file}"
    kept_none = "its worker wrote nothing, or nothing of it is kept any more"
    assert (gone.returncode, gone.stderr) == (1, f"longshore: good.txt has no log: {kept_none}. See: {hint} good.txt\n")
    assert (unknown.returncode, unknown.stderr) == (1, f"longshore: x has no log: it has no Job. See: {hint} x\n")


def test_doctor_looks_at_every_part(worked: LocalRun) -> None:
    """A line for each, and exit code 0 while nothing is wrong."""
    assert out(worked.longshore("doctor", str(worked.file))).splitlines() == [
        "ok       worker: it can be started here",
        f"ok       state folder: {worked.folder}/.longshore/local",
        "ok       source: it lists 4 items",
    ]


def test_doctor_says_what_is_wrong(local: LocalRun) -> None:
    """A worker that is not installed and a source that is not there are told in one go; exit code 1."""
    volumes = {"media": {"hostPath": {"path": "./none"}}}
    local.define("true", volumes=volumes, worker={"command": ["no-such-program"], "volumes": ["media"]})

    ended = local.longshore("doctor", str(local.file))

    lines = ended.stdout.splitlines()
    assert (ended.returncode, [line.split(":")[0] for line in lines]) == (
        1,
        ["wrong    worker", "ok       state folder", "wrong    source"],
    )
    assert ("no-such-program" in lines[0], "none" in lines[2]) == (True, True)


def test_check_reports_every_mistake_of_a_file_and_every_part(local: LocalRun, worked: LocalRun) -> None:
    """A right file's parts are looked at as by doctor; a wrong one's mistakes have line, key and the near key."""
    local.file.write_text("source: {kind: lists, list: {items: [a]}}\nworker:\n  comand: [true]\n", encoding="utf-8")
    right, wrong = (run.longshore("check", str(run.file)) for run in (worked, local))
    doctor = worked.longshore("doctor", str(worked.file))

    assert out(right) == f"ok       queue file: it defines the queue local\n{out(doctor)}"
    assert (wrong.returncode, wrong.stderr) == (1, "")
    kinds = "'nfs', 's3', 'redis', 'kafka', 'list' or 'custom'"
    assert wrong.stdout.splitlines() == [
        f"wrong    queue file: {local.file}:1: source.kind: expected {kinds}; did you mean 'list'?",
        f"wrong    queue file: {local.file}:3: worker.comand: no such key; did you mean 'command'?",
    ]


def test_init_writes_a_file_that_check_and_run_take(local: LocalRun) -> None:
    """Two commands later its items are done; a file that is there is never written over unasked."""
    flags = ("--source", "list", "--command", "echo 'for ${name}'", "--name", "mine", "-o", str(local.file))
    first, second, forced = (local.longshore("init", *flags, *more) for more in ((), (), ("--force",)))
    checked = out(local.longshore("check", str(local.file)))
    ended = local.run()

    assert out(first) == f"{local.file} is written. Look at it, then: longshore check {local.file}\n"
    said = f"longshore: {local.file} is there already: choose another --output, or give --force\n"
    assert (second.returncode, second.stderr, forced.returncode) == (2, said, 0)
    assert {line.split()[0] for line in checked.splitlines()} == {"ok"}
    assert (ended.returncode, local.states()) == (0, {"first": "done", "second": "done"})


def test_init_asks_in_a_terminal(local: LocalRun) -> None:
    """What no option says is asked; elsewhere it is told."""
    file = local.folder / "asked.yaml"
    with Terminal(local.command("init", "-o", str(file))) as screen:
        for question, answer in (
            ("What the items come from", "nsf"),
            ("did you mean 'nfs'?", "nfs"),
            ("Where the items are", "./items"),
            ("The worker's image", ""),
            ("The worker's command", ""),
        ):
            screen.until(question)
            screen.type(answer)
        code = screen.end()
    untold = local.longshore("init", "-o", str(local.file))

    assert code == 0, screen.text()
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert (document["source"]["kind"], document["worker"]["command"]) == ("nfs", ["echo", "${name}"])
    assert (untold.returncode, local.file.exists()) == (2, False)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["explain", "-q", "x"], "expected FILE ITEM, or -q NAME ITEM for a queue in a cluster"),
        (["explain", "-q", "x", "a", "b"], "expected FILE ITEM, or -q NAME ITEM for a queue in a cluster"),
        (["explain", "x"], "expected FILE ITEM, or -q NAME ITEM for a queue in a cluster"),
        (["dead"], "give a queue file, or -q NAME for a queue in a cluster"),
        (["doctor"], "give a queue file, or -q NAME for a queue in a cluster"),
    ],
)
def test_which_queue_is_meant_must_be_said(local: LocalRun, words: list[str], what: str) -> None:
    """A file, or a queue in a cluster; never both, never neither."""
    ended = local.longshore(*words)

    assert (ended.returncode, ended.stdout, ended.stderr.splitlines()[-1].partition(": ")[2].partition(": ")[2]) == (
        2,
        "",
        what,
    )


def test_without_a_cluster_one_is_asked_for(local: LocalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kubeconfig, no traceback."""
    monkeypatch.setenv("KUBECONFIG", str(local.folder / "none"))
    ended = local.longshore("ls", "-q", "x")

    assert (ended.returncode, ended.stdout, ended.stderr[:36]) == (2, "", "longshore: no cluster to speak to: I")


def test_manifest_is_the_same_job_in_yaml_and_json(worked: LocalRun) -> None:
    """The Job that the item would get, by the item's own name and data, in either form."""
    as_yaml = yaml.safe_load(out(worked.longshore("manifest", str(worked.file), ODD)))
    as_json = json.loads(out(worked.longshore("manifest", str(worked.file), ODD, "-o", "json")))
    container = as_json["spec"]["template"]["spec"]["containers"][0]

    assert as_yaml == as_json
    assert (as_json["metadata"]["name"], container["command"][-1]) == (job_name("local", ODD), ODD)


def test_manifest_of_an_unknown_item_ends_with_1(worked: LocalRun) -> None:
    """There is no Job for what the source does not have."""
    ended = worked.longshore("manifest", str(worked.file), "nothing")

    said = "longshore: the source has no item 'nothing': 'nothing' is no item: No such file or directory\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", said)


def test_schema_takes_the_example_and_refuses_a_slip(local: LocalRun) -> None:
    """Editors check a queue file by it."""
    schema = json.loads(out(local.longshore("schema")))
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    example = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    slip = example | {"scaling": {"maxx": 2}}

    errors = [[error.json_path for error in validator(schema).iter_errors(one)] for one in (example, slip)]

    assert errors == [[], ["$.scaling"]]


def test_conform_source_passes_the_kits_ambassador(local: LocalRun) -> None:
    """A line for each rule with what it asks, a sum, and exit code 0."""
    with serving(create_app(MemorySource(["a", "b/c"]))) as url:
        printed = out(local.longshore("conform", "source", url))

    rules = titles(SourceContract)
    assert outcomes(printed) == dict.fromkeys(rules, "passed")
    assert printed.splitlines()[-1] == f"{len(rules)} passed, 0 failed, 0 skipped"


def test_conform_source_says_what_is_wrong(local: LocalRun) -> None:
    """A rule that is broken makes exit code 1; its line has what was asked, expected and got."""
    with served(right_with((*NAMES, "a.mp4"))) as url:
        ended = local.longshore("conform", "source", url)

    assert (ended.returncode, ended.stderr) == (1, "")
    assert [re.split(" {2,}", line)[1:] for line in ended.stdout.splitlines() if line.startswith("failed")] == [
        ["names are unique", f"GET {url}/api/v1/items: expected each name once, got 'a.mp4' twice; list it once"]
    ]


def test_conform_worker_passes_a_right_one(local: LocalRun) -> None:
    """A worker in any language, here a shell script, started as the manager would."""
    printed = out(local.longshore("conform", "worker", "--", "sh", "-c", RIGHT_WORKER))

    assert outcomes(printed) == dict.fromkeys(titles(WorkerContract), "passed")


def test_conform_worker_says_what_is_wrong(local: LocalRun) -> None:
    """What never looks at its item breaks two rules."""
    ended = local.longshore("conform", "worker", "--", "true")

    assert (ended.returncode, ended.stderr, ended.stdout.splitlines()[-1]) == (1, "", "3 passed, 2 failed, 2 skipped")
    failed = {rule for rule, outcome in outcomes(ended.stdout).items() if outcome == "failed"}
    assert failed == {"item that is no json is not done", "missing item file is not done"}


def test_conform_worker_fills_in_the_item_and_sets_variables(local: LocalRun) -> None:
    """A plain command is a worker: its arguments are filled in, and nothing is asked about the item file."""
    script = 'test "$1" = "a b" && test "$MARK" = "x=y z"'
    options = ("--item", '{"path": "a b"}', "--env", "MARK=x=y z")
    printed = out(local.longshore("conform", "worker", *options, "--", "sh", "-c", script, "sh", "${item.path}"))

    assert printed.splitlines()[-1] == "3 passed, 0 failed, 4 skipped"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("ls <folder>/none", "<folder>/none: can't be read: No such file or directory"),
        ("run <folder>", "<folder>: can't be read: Is a directory"),
        ("retry <folder> x", "<folder>: can't be read: Is a directory"),
        ("ls <file> --volume media", "--volume media: expected NAME=FOLDER, such as --volume media=./videos"),
        ("ls <file> --volume x=/tmp", "<file>: there is no volume 'x'"),
        ("conform source ftp://x", "ftp://x: expected a URL such as http://127.0.0.1:8080"),
        ("conform source x:8080", "x:8080: expected a URL such as http://127.0.0.1:8080"),
        ("conform source http://127.0.0.1:9", f"http://127.0.0.1:9: nothing to check: {REFUSED}"),
        ("conform worker -- nonexist -v", f"nonexist: nothing to check: {NOT_THERE}"),
        ("conform worker --env X -- true", "--env X: expected K=V, such as --env MEDIA_PATH=./videos"),
        ("conform worker --item [] -- x", """--item []: expected a JSON object, such as '{"path": "a.txt"}'"""),
        ("conform worker -- cp ${item.path}", "${item.path}: the item has no such value; its data has nothing"),
    ],
)
def test_misuse_ends_with_2_and_one_line(local: LocalRun, arguments: str, complaint: str) -> None:
    """A mistake is told in a line that says what was expected; nothing is printed, nothing traced."""
    local.define("true")

    def placed(text: str) -> str:
        return text.replace("<folder>", str(local.folder)).replace("<file>", str(local.file))

    ended = local.longshore(*placed(arguments).split())

    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"longshore: {placed(complaint)}\n")


@pytest.mark.parametrize(
    "arguments", ["conform source http://[::1", "conform source http://x:99999", "ls <file> --state-folder <file>"]
)
def test_values_that_can_not_be_end_with_2(local: LocalRun, arguments: str) -> None:
    """A URL that is none, and a file in a folder's place, are misuse like any other."""
    local.define("true")
    ended = local.longshore(*arguments.replace("<file>", str(local.file)).split())

    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["nothing"], ["ls"], ["conform", "worker"]),
        *(["ls", "x", "--state", "x"], ["ls", "x", "--older", "soon"], ["dead", "x", "--newer", "5"]),
    ],
)
def test_wrong_words_end_with_2_and_the_usage(local: LocalRun, arguments: list[str]) -> None:
    """What is missing or unknown on the command line is told with how to use it."""
    ended = local.longshore(*arguments)

    assert (ended.returncode, ended.stdout, ended.stderr[:7]) == (2, "", "Usage: ")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            "dead x -o nope",
            "Invalid value for '--output' / '-o': 'nope' is not one of 'table', 'wide', 'json', 'name'.",
        ),
        ("run x --engine nope", "Invalid value for '--engine': 'nope' is not one of 'process', 'docker'."),
        ("explain x -dash.job", "No such option: -d; before a name that begins with a dash put --"),
        ("retry x a -dash.job", "No such option: -d; before a name that begins with a dash put --"),
        ("ls x --nope", "No such option: --nope (Possible options: --newer, --older)"),
    ],
)
def test_a_wrong_word_is_told_with_what_may_stand_there(local: LocalRun, arguments: str, error: str) -> None:
    """In words of the command line alone: the values that there are, or how to give a name like an option's."""
    ended = local.longshore(*arguments.split())

    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (2, f"Error: {error}")


def test_what_is_to_be_retried_is_said_in_one_way(local: LocalRun) -> None:
    """Names, all, or a reason: two of them contradict each other, and none says nothing."""
    local.define("true")
    both, three, none = (
        local.longshore("retry", str(local.file), *words)
        for words in (["a", "--all"], ["a", "--all", "--reason", "x"], [])
    )

    only = "only one of them can say which items should be tried again\n"
    assert [(ended.returncode, ended.stderr) for ended in (both, three, none)] == [
        (2, f"longshore: names and --all were given: {only}"),
        (2, f"longshore: names, --all and --reason were given: {only}"),
        (2, "longshore: name the items that should be tried again, or give --all, or --reason TEXT\n"),
    ]


def test_retry_of_an_unknown_item_names_its_like(worked: LocalRun) -> None:
    """As explain does: there is no such item, and each name that was perhaps meant."""
    unknown, other = (worked.longshore("retry", str(worked.file), item) for item in ("god.txt", "later.txt"))

    said = "the source has no item 'god.txt': 'god.txt' is no item: No such file or directory"
    assert [(ended.returncode, ended.stdout, ended.stderr) for ended in (unknown, other)] == [
        (1, "", f"longshore: {said}; did you mean good.txt or bad.txt?\n"),
        (1, "", f"longshore: later.txt has not failed: longshore explain {worked.file} later.txt\n"),
    ]


def test_what_has_left_its_source_is_not_retried(local: LocalRun) -> None:
    """Nothing would try it again: the dead letter stays, with its reason."""
    local.add_items("bad", "worse")
    local.define("exit 65")
    local.run()
    (local.folder / "items/bad").unlink()
    named = local.longshore("retry", str(local.file), "bad")
    every = local.longshore("retry", str(local.file), "--all", "--yes")

    words = "bad is not in its source any more, so nothing would try it again: it stays as it is"
    assert (named.returncode, words in named.stderr) == (1, True)
    assert (every.returncode, words in every.stderr, every.stdout.splitlines()[0]) == (
        1,
        True,
        "worse will be tried again",
    )
    assert local.states() == {"bad": "failed", "worse": "waiting"}


def test_items_of_one_reason_are_retried_together(local: LocalRun) -> None:
    """A dry run says which they are, and changes nothing; without a terminal nobody is asked."""
    local.add_items("full 1", "full 2", "odd")
    local.define('case "$1" in full*) echo "disk full" >&2; exit 65;; esac; echo "no video" >&2; exit 65')
    local.run()
    file = str(local.file)
    dry, all_dry = (local.longshore("retry", file, one, "--dry-run") for one in ("--reason=DISK", "--all"))
    before = local.states()
    wet, none = (local.longshore("retry", file, "--reason", one, "--yes") for one in ("DISK", "no such words"))

    assert out(dry) == "full 1 would be tried again\nfull 2 would be tried again\n"
    assert len(out(all_dry).splitlines()) == 3
    assert set(before.values()) == {"failed"}
    assert out(wet).splitlines()[:2] == ["full 1 will be tried again", "full 2 will be tried again"]
    assert local.states() == {"full 1": "waiting", "full 2": "waiting", "odd": "failed"}
    assert out(none) == "no item has failed for a reason with 'no such words' in it\n"


def test_in_a_terminal_it_is_asked_before_all_are_taken_up(local: LocalRun) -> None:
    """No changes nothing, yes does it, and `--yes` is never asked."""
    local.add_items("a", "b")
    local.define("exit 65")
    local.run()
    command = local.command("retry", str(local.file), "--all")

    assert answered(command, "n") == (1, "nothing was changed")
    assert local.states() == {"a": "failed", "b": "failed"}
    assert answered(command, "y")[0] == 0
    assert local.states() == {"a": "waiting", "b": "waiting"}
    local.run()
    assert answered([*command, "--yes"], None)[0] == 0


def answered(command: list[str], answer: str | None) -> tuple[int, str]:
    """The exit code of a command that asks, and its last words."""
    with Terminal(command) as screen:
        if answer is not None:
            screen.until("2 items will be tried again. Go on? [y/N]: ")
            screen.type(answer)
        return screen.end(), screen.text().strip().splitlines()[-1].removeprefix("longshore: ")


def test_a_done_item_is_done_again_when_somebody_says_so(local: LocalRun) -> None:
    """Named, or all of them: by its Job or, where only a record is left, by that; what is not done is told."""
    local.add_items("a", "b", "c", "bad")
    local.define('[ "$1" != bad ] || exit 65; echo run >> "$OUT_PATH/$1"', keep={"finished": 1})
    local.run()
    named = local.longshore("rerun", str(local.file), "a", "bad", "never")
    local.run()
    after_one = {name: len((local.out / name).read_text().split()) for name in "abc"}
    dry = local.longshore("rerun", str(local.file), "--all", "--dry-run")
    every = local.longshore("rerun", str(local.file), "--all", "--yes")
    local.run()

    assert (named.returncode, named.stdout.splitlines()[0]) == (1, "a will be done again")
    assert [line.split(": ")[1] for line in named.stderr.splitlines()] == [
        "bad is not done",
        "the source has no item 'never'",
    ]
    assert after_one == {"a": 2, "b": 1, "c": 1}
    assert out(dry) == "3 items would be done again\n"
    assert (every.returncode, every.stdout.splitlines()[0]) == (0, "3 items will be done again")
    assert {name: len((local.out / name).read_text().split()) for name in "abc"} == {"a": 3, "b": 2, "c": 2}
    assert local.states()["bad"] == "failed"


@pytest.mark.parametrize(
    "words", [["ls"], ["status"], ["dead"], ["check"], ["doctor"], ["explain", "a"], ["manifest", "a"]], ids=str
)
def test_a_look_leaves_nothing_behind(local: LocalRun, words: list[str]) -> None:
    """Of a queue that was never run nothing is made, also where its source was asked."""
    local.add_items("a")
    local.define("true")
    before = sorted(local.folder.iterdir())

    ended = local.longshore(words[0], str(local.file), *words[1:])

    assert (ended.returncode, ended.stderr, sorted(local.folder.iterdir())) == (0, "", before)


@pytest.fixture
def unwritable(local: LocalRun, request: pytest.FixtureRequest) -> Path:
    """A file of a queue that was run, which nobody can write: a folder has its name."""
    local.add_items("a")
    local.define("true")
    assert local.run().returncode == 0
    path = local.folder / ".longshore/local" / str(request.param)
    path.unlink()
    path.mkdir()
    return path


@pytest.mark.parametrize("words", [["ls"], ["status"], ["check"], ["retry", "--all"]], ids=str)
@pytest.mark.parametrize("unwritable", ["ambassador.log"], indirect=True)
@pytest.mark.usefixtures("unwritable")
def test_who_asks_the_source_for_a_moment_needs_no_log_file(local: LocalRun, words: list[str]) -> None:
    """A state folder that nobody may write to can be looked at all the same."""
    ended = local.longshore(words[0], str(local.file), *words[1:])

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("unwritable", ["managers.lock", "ambassador.log"], indirect=True)
def test_a_file_that_run_can_not_write_is_told_in_words(local: LocalRun, unwritable: Path) -> None:
    """Which file, and why: no traceback."""
    ended = local.run()

    assert (ended.returncode, ended.stderr) == (2, _unwritable_words(unwritable, "Is a directory"))


def _unwritable_words(path: Path, why: str) -> str:
    advice = "make room, or the right to write there, or choose another folder with --state-folder"
    return f"longshore: {path} can't be written: {why}; {advice}\n"


def test_a_full_disk_is_told_in_words(local: LocalRun, bash: str) -> None:
    """Also by the very first write of a run, which leaves nothing of itself."""
    local.define("true")
    (local.folder / ".longshore/local").mkdir(parents=True)
    (local.folder / ".longshore/.gitignore").touch()

    # No file may have a byte, as on a full disk.
    ended = in_bash(bash, f"ulimit -f 0; longshore run {local.file} --until-done")

    path = local.folder / ".longshore/local/engine"
    assert (ended.returncode, ended.stderr) == (2, _unwritable_words(path, "File too large"))
    assert list(path.parent.iterdir()) == []
