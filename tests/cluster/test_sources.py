"""A source that dies, hangs, lies or flaps, before an installed queue: nothing is cancelled, deleted or done twice."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from support.cluster.moody_source import MoodySource, served_at
from support.cluster.node import ADDRESS
from support.cluster.release import Release, shell
from support.wrong_ambassadors import Reply

pytestmark = pytest.mark.slow
ITEMS: Final = ("done", "failed", "runs")
WORKER: Final = """
echo x >> "$OUT_PATH/$1"
case "$1" in
    failed) exit 65;;
    runs) until test -e "$OUT_PATH/go"; do sleep 0.2; done;;
esac
"""
"""Says of itself that it began; one item fails, and one runs until it is let go."""
EMPTY_LISTS: Final = 4
"""In a row, more than it takes for an absence to count."""
WHOLE_LIST: Final = json.dumps({"kind": "ItemList", "apiVersion": "v1", "items": list(ITEMS)}).encode()
JSON_TYPE: Final = {"Content-Type": "application/json"}


@pytest.fixture
def source(release: Release) -> Iterator[MoodySource]:
    """An ambassador that pods reach."""
    if release.cluster.node is None:
        pytest.skip("pods of this cluster don't reach a server in a test: unset KUBECONFIG for a cluster of its own")
    with served_at(ADDRESS) as one:
        yield one


def start(release: Release, **values: object) -> dict[str, str]:
    """Install, until one item is done, one has failed, and one runs: the Jobs' uids."""
    release.helm("install", release.values(**values))
    release.until(
        "one of each",
        lambda: (
            (release.outcome("done"), release.outcome("failed")) == ("Complete", "Failed")
            and (release.out / "runs").exists()
        ),
    )
    return release.uids()


def is_running(release: Release) -> bool:
    """Whether the worker of `runs` is at work, untouched."""
    job = release.jobs()["runs"]
    selector = f"batch.kubernetes.io/job-name={job['metadata']['name']}"
    pods = json.loads(release.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return [("deletionTimestamp" in pod["metadata"], pod["status"]["phase"]) for pod in pods] == [(False, "Running")]


def runs_of(release: Release) -> dict[str, str]:
    """A letter for each time that an item's worker began."""
    return {path.name: path.read_text().replace("\n", "") for path in release.out.iterdir() if path.name != "go"}


def html(source: MoodySource) -> None:
    """As a proxy's login page would be."""
    source.answers(Reply(200, b"<!doctype html><title>Sign in</title>", {"Content-Type": "text/html"}))


def half_a_list(source: MoodySource) -> None:
    """JSON that ends too early, in a reply that is whole."""
    source.answers(Reply(200, WHOLE_LIST[: len(WHOLE_LIST) // 2], JSON_TYPE))


def cut_off(source: MoodySource) -> None:
    """A reply that ends before the length that it has promised."""
    source.answers(Reply(200, WHOLE_LIST[:-10], {**JSON_TYPE, "Content-Length": str(len(WHOLE_LIST))}))


@pytest.mark.parametrize(
    ("ails", "asked"),
    [
        (MoodySource.die, 0),  # nobody is there to count
        (MoodySource.hangs, 1),
        (html, 3),
        (half_a_list, 3),
        (cut_off, 3),
    ],
    ids=["dies", "hangs", "html", "half a list", "cut off"],
)
def test_a_source_that_ails_changes_nothing_and_is_asked_again(
    release: Release, source: MoodySource, ails: Callable[[MoodySource], None], asked: int
) -> None:
    """Invariant 3: "could not look" is never "nothing there". When it is well again, so is the queue."""
    source.lists(ITEMS)
    before = start(release, **over(source, release))
    warnings = release.log().count("source unavailable")

    ails(source)
    release.until("the manager to have seen it", lambda: release.log().count("source unavailable") > warnings)
    release.until("the source to be asked", lambda: source.lists_asked >= asked)
    seen = (release.uids(), is_running(release), runs_of(release))

    assert seen == (before, True, dict.fromkeys(ITEMS, "x"))
    goes_on(release, source, before)


def test_a_source_that_flaps_between_everything_and_nothing_changes_nothing(
    release: Release, source: MoodySource
) -> None:
    """A list that says that all is gone ends no worker, forgets no failure and has nothing done again."""
    source.lists(ITEMS)
    before = start(release, **over(source, release))

    source.flaps(EMPTY_LISTS)
    release.until("three rounds", lambda: source.lists_asked > 3 * (EMPTY_LISTS + 1))
    seen = (release.uids(), is_running(release), runs_of(release))

    assert seen == (before, True, dict.fromkeys(ITEMS, "x"))
    goes_on(release, source, before)


def over(source: MoodySource, release: Release) -> dict[str, object]:
    """A queue over an ambassador of somebody's own."""
    return {
        "source": {"kind": "custom", "custom": {"url": source.url}},
        "worker": {**shell(WORKER, argument="${name}", image=release.cluster.shell_image), "volumes": ["out"]},
    }


def goes_on(release: Release, source: MoodySource, before: dict[str, str]) -> None:
    """The source is well, with a new item: it gets its Job, the others keep theirs, and the one that runs ends."""
    source.lists((*ITEMS, "new"))
    release.until("the new item", lambda: release.outcome("new") == "Complete")
    (release.out / "go").touch()
    release.until("the old worker's end", lambda: release.outcome("runs") == "Complete")

    after = release.uids()
    assert (after, runs_of(release)) == (before | {"new": after["new"]}, dict.fromkeys((*ITEMS, "new"), "x"))


def test_an_ambassador_that_is_killed_comes_back_to_the_same_queue(release: Release) -> None:
    """Its container alone is started again; the manager beside it never stops, and no Job is another one."""
    if release.cluster.node is None:
        pytest.skip("the processes of this cluster can't be seen: unset KUBECONFIG for a cluster of its own")
    for name in ITEMS:
        (release.media / name).write_text(name)
    before = start(release, worker=shell(WORKER, image=release.cluster.shell_image))
    killed = container(release, "ambassador")
    manager = container(release, "manager")

    for pid in processes_of(killed):
        os.kill(pid, signal.SIGKILL)
    release.until("another container", lambda: container(release, "ambassador") not in {"", killed})
    (release.media / "new").write_text("new")
    release.until("the new item", lambda: release.outcome("new") == "Complete")

    after = release.uids()
    assert (after, is_running(release), container(release, "manager")) == (
        before | {"new": after["new"]},
        True,
        manager,
    )
    (release.out / "go").touch()
    release.until("the old worker's end", lambda: release.outcome("runs") == "Complete")
    assert runs_of(release) == dict.fromkeys((*ITEMS, "new"), "x")


def container(release: Release, name: str) -> str:
    """The id of a container of the manager's pod, as it runs now; empty while it does not."""
    selector = "app.kubernetes.io/component=manager"
    pods = json.loads(release.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    statuses = [one for pod in pods for one in pod["status"].get("containerStatuses", []) if one["name"] == name]
    return next((one["containerID"].rpartition("/")[2] for one in statuses if "running" in one["state"]), "")


def processes_of(container_id: str) -> list[int]:
    """The processes of a container, which its control group names."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                groups = (folder / "cgroup").read_text()
            except OSError:  # it has ended meanwhile
                continue
            if container_id in groups:
                found.append(int(folder.name))
    assert found, f"no process of container {container_id}"
    return found
