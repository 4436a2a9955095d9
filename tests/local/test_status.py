"""`longshore run` serves its page on this machine, and says where."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
import requests

from support.runs import LocalRun, await_file
from support.waiting import until

FILES = ("a.txt", "b<b>ad.txt", "c\n\x1b[31m.txt")
FAILS_BUT_A = 'if [ "$1" != a.txt ]; then printf "\\033[31m<b>no $1</b>\\n" >&2; exit 65; fi'


@contextmanager
def running(local: LocalRun, *arguments: str) -> Iterator[str]:
    """`longshore run` until the block ends, and the address that it printed."""
    process = local.start(*arguments)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        yield said.split("status: ")[1].strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def got(url: str, path: str) -> Any:
    return requests.get(url + path, timeout=30).json()


def retried(url: str, token: str, item: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{url}/api/retry", json={"items": [item]}, headers=headers, timeout=30)


def test_run_prints_where_its_page_is_and_the_page_says_what_became_of_items(local: LocalRun) -> None:
    """Numbers, reasons and logs, with nothing in them that a page or a terminal would obey."""
    local.add_items(*FILES)
    local.define(FAILS_BUT_A)

    with running(local) as url:
        until(lambda: got(url, "/api/status")["counts"]["failed"] == 2)
        status = got(url, "/api/status")
        bad = got(url, "/api/items/b%3Cb%3Ead.txt")
        worse = got(url, "/api/items/c%0A%1B%5B31m.txt")

    assert url.startswith("http://127.0.0.1:")
    assert (status["counts"]["done"], status["source"]["listed"], status["actions"]) == (1, 3, [])
    assert sum(status["series"]["done"]) == 1
    assert bad["log"] == ["<b>no b<b>ad.txt</b>"]
    assert worse["row"]["label"] == "c\\n\\x1b[31m.txt"
    assert "longshore retry" in bad["sentence"]


def test_page_of_a_run_retries_with_the_token_alone(local: LocalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The item is tried once more, by this very manager, at once."""
    monkeypatch.setenv("STATUS_TOKEN", "secret")
    local.add_items("x")
    local.define('echo tried >> "$OUT_PATH/log"; exit 65')

    with running(local) as url:
        until(lambda: got(url, "/api/status")["counts"]["failed"] == 1)
        refused, said = retried(url, "guess", "x"), retried(url, "secret", "x")
        until(lambda: (local.out / "log").read_text().count("tried") == 2)

    assert (refused.status_code, said.json()) == (401, {"retried": ["x"], "refused": {}})


def test_page_is_left_out_when_asked_to(local: LocalRun) -> None:
    """No port, no line."""
    local.add_items("x")
    local.define("true")

    assert "status: " not in local.run("--no-status").stdout
    assert "status: http://127.0.0.1:" in local.run().stdout


def test_port_that_is_taken_is_told(local: LocalRun) -> None:
    """No item is started, and the message names the option."""
    local.define("true")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = local.run("--status-port", str(port))

    words = f"longshore: --status-port={port}: can't listen there: Address already in use"
    assert (ended.returncode, ended.stderr.startswith(words)) == (2, True)


def test_nothing_that_a_run_starts_is_given_the_token(local: LocalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has it may retry and pause: neither ambassador nor supervisor nor worker."""
    monkeypatch.setenv("STATUS_TOKEN", "secret")
    monkeypatch.setenv("KEPT", "1")
    local.add_items("x")
    local.define('touch "$OUT_PATH/up"; sleep 1000')
    process = local.start()
    await_file(local.out / "up", process)

    started = [one.environ() for one in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert [(environ.get("KEPT"), environ.get("STATUS_TOKEN")) for environ in started] == [("1", None)] * len(started)
    assert len(started) >= 3


def test_a_looks_ambassador_is_not_given_the_token(local: LocalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same environment, a moment only."""
    (local.folder / "secret").write_text("secret")
    monkeypatch.setenv("STATUS_TOKEN_FILE", str(local.folder / "secret"))
    custom = {"command": ["sh", "-c", f"env > {local.folder}/seen; exit 64"]}
    local.define("true", source={"kind": "custom", "custom": custom})

    local.longshore("ls", str(local.file))
    local.longshore("check", str(local.file))

    assert [name for name in (local.folder / "seen").read_text().splitlines() if "STATUS" in name] == []
