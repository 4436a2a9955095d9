"""The commands on a queue in a cluster: the same words as for a queue file, with -q, -n and --context in its place."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longshore.rights import managers_rights
from support.cluster.cluster import Cluster
from support.cluster.release import Release, longshore, out, release_in, shell

from .test_promises import shipped_rules, somebody_with, until_quota_counts

pytestmark = pytest.mark.slow
WORKER = """
exec 2>&1
echo "working on $1"
case "$1" in
  fails*) echo "no stream in it" >&2; exit 65;;
  waits*) until test -e "$OUT_PATH/go"; do sleep 0.2; done;;
esac
printf made > "$LONGSHORE_RESULT_FILE"
"""


def states(release: Release) -> dict[str, str]:
    """Each item's state, by `ls`."""
    return {row["item"]: row["state"] for row in json.loads(longshore(release, "ls", "-o", "json").stdout)}


@pytest.fixture(scope="module")
def busy(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """A release at work: one item done, one failed, one that runs, one that waits for it. Only to be looked at."""
    with cluster.namespace() as namespace:
        release = release_in(cluster, namespace, tmp_path_factory.mktemp("busy"))
        for name in ("a done", "fails", "waits 1", "waits 2"):
            (release.media / name).write_text("x")
        worker = shell(WORKER, image=cluster.shell_image)
        release.helm("install", release.values(worker=worker, scaling={"max": 1}))
        release.until("one to run, all before it finished", lambda: states(release).get("waits 1") == "running")
        yield release


def test_ls_and_dead_list_what_the_source_and_the_jobs_say(busy: Release) -> None:
    """What waits is asked of the ambassador in the manager's pod; the queue needs no name where it is the only one."""
    assert states(busy) == {"waits 2": "waiting", "waits 1": "running", "a done": "done", "fails": "failed"}
    assert out(longshore(busy, "ls", "-q", "q", "-s", "waiting", "-o", "name")) == "waits 2\n"
    assert out(longshore(busy, "dead", "-o", "name")) == "fails\n"
    assert out(longshore(busy, "dead", "-o", "name", program="kubectl-longshore")) == "fails\n"


@pytest.mark.parametrize(
    ("item", "begins", "ends"),
    [
        ("a done", "a done is done since ", "of work in 1 attempt: made.\n"),
        ("fails", "fails failed since ", ": no stream in it. Once mended: longshore retry -q q -n NAMESPACE fails\n"),
        ("waits 1", "waits 1 is running since ", ", attempt 1 of 3.\n"),
        ("waits 2", "waits 2 is waiting: all 1 workers are busy (scaling.max), it is next.\n", ""),
    ],
)
def test_explain_says_where_an_item_stands(busy: Release, item: str, begins: str, ends: str) -> None:
    """The sentence that a queue file gives, with the command that helps here."""
    said = out(longshore(busy, "explain", item))

    assert (said[: len(begins)], said.endswith(ends.replace("NAMESPACE", busy.namespace))) == (begins, True), said


def test_logs_are_the_pods(busy: Release) -> None:
    """Of what runs and of what failed; of what is done nothing is kept."""
    assert out(longshore(busy, "logs", "waits 1")) == "working on waits 1\n"
    assert out(longshore(busy, "logs", "fails")) == "working on fails\nno stream in it\n"
    assert longshore(busy, "logs", "waits 2").returncode == 1


def test_manifest_is_what_was_made(busy: Release) -> None:
    """The Job that the manager made, but for what the API server adds."""
    printed = json.loads(out(longshore(busy, "manifest", "fails", "-o", "json")))
    made = busy.jobs()["fails"]

    same = ("labels", "annotations")
    assert printed["metadata"]["name"] == made["metadata"]["name"]
    assert {key: printed["metadata"][key].items() <= made["metadata"][key].items() for key in same} == {
        "labels": True,
        "annotations": True,
    }
    container, real = (one["spec"]["template"]["spec"]["containers"][0] for one in (printed, made))
    assert (container["command"], container["env"]) == (real["command"], real["env"])


def test_doctor_finds_a_healthy_release_healthy(busy: Release) -> None:
    """A line for every part, and exit code 0."""
    lines = out(longshore(busy, "doctor")).splitlines()

    assert [line.split(":")[0] for line in lines] == [
        "ok       cluster",
        "ok       your rights for status, ls, dead, explain",
        "ok       your rights for logs, top",
        "ok       your rights for pause, resume, drain",
        "ok       your rights for retry, rerun",
        "ok       manager",
        "ok       rights of q-manager",
        "ok       source",
        "ok       items",
        "ok       worker",
        "ok       quota",
    ]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["ls", "-q", "nope"], "there is no queue 'nope' in namespace NAMESPACE: there are q"),
        (["explain", "wait 2"], "the source has no item 'wait 2': "),
        (["retry", "a//b"], "the source has no item 'a//b': "),
        (["retry", "waits 1"], "waits 1 has not failed: longshore explain -q q -n NAMESPACE 'waits 1'"),
        (["ls", "--context", "nope"], "no cluster to speak to: "),
    ],
)
def test_mistakes_are_told_with_what_to_do(busy: Release, words: list[str], complaint: str) -> None:
    """In one line, without a trace."""
    ended = longshore(busy, *words)

    said = ended.stderr.removeprefix("longshore: ")
    complaint = complaint.replace("NAMESPACE", busy.namespace)
    assert (ended.stdout, said[: len(complaint)], len(said.splitlines())) == ("", complaint, 1)


def test_a_retried_item_runs_again(release: Release) -> None:
    """Its Job is deleted, and the manager makes another one."""
    (release.media / "a").write_text("a")
    script = 'test -e "$OUT_PATH/mended" || exit 65'
    release.helm("install", release.values(worker=shell(script, image=release.cluster.shell_image)))
    release.until("it has failed", lambda: release.outcome("a") == "Failed")
    first = release.jobs()["a"]["metadata"]["uid"]
    (release.out / "mended").touch()

    said = out(longshore(release, "retry", "--all", "--yes"))
    release.until("it is done", lambda: release.outcome("a") == "Complete")

    assert (said, release.jobs()["a"]["metadata"]["uid"] != first) == ("a will be tried again\n", True)


def test_nothing_is_retried_where_nobody_would_make_it_anew(release: Release) -> None:
    """Of a queue that is uninstalled the Jobs are the only record: a retry would delete it, and start nothing."""
    (release.media / "a").write_text("a")
    release.helm("install", release.values(worker=shell("exit 65", image=release.cluster.shell_image)))
    release.until("it has failed", lambda: release.outcome("a") == "Failed")
    release.uninstall()

    ended = longshore(release, "retry", "-q", "q", "--all", "--yes")

    assert (ended.returncode, ended.stdout, ended.stderr.partition(":")[2].split(":")[0], release.outcome("a")) == (
        1,
        "",
        " q is not installed",
        "Failed",
    )


def quota(release: Release) -> None:
    """No more Jobs than none."""
    document = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "jobs"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    api = release.cluster.api(release.namespace)
    api.create(f"/api/v1/namespaces/{release.namespace}/resourcequotas", document)
    until_quota_counts(api)
    api.close()


def nothing(release: Release) -> None:
    """Nothing to prepare."""


@pytest.mark.parametrize(
    ("prepare", "worker", "words"),
    [
        (nothing, {"image": "longshore.test/no-such-image:1"}, ["ErrImagePull", "ImagePullBackOff"]),
        (nothing, {"podTemplate": {"spec": {"nodeSelector": {"no": "such-node"}}}}, ["Unschedulable"]),
        (
            nothing,
            {
                "podTemplate": {
                    "spec": {"containers": [{"name": "worker", "envFrom": [{"secretRef": {"name": "no-such-secret"}}]}]}
                }
            },
            ["no-such-secret"],
        ),
        (nothing, {"podTemplate": {"spec": {"priorityClassName": "no-such-class"}}}, ["no-such-class"]),
        (quota, {}, ["exceeded quota: jobs"]),
    ],
    ids=["image", "node", "secret", "admission", "quota"],
)
def test_explain_shows_what_keeps_an_item_from_starting(
    release: Release, prepare: Callable[[Release], None], worker: dict[str, Any], words: list[str]
) -> None:
    """Long before `retry.pendingSeconds` have passed, in the words of who refuses it."""
    (release.media / "a").write_text("a")
    prepare(release)
    release.helm("install", release.values(worker={**shell("true", image=release.cluster.shell_image), **worker}))
    said = ""

    def is_told() -> bool:
        nonlocal said
        said = longshore(release, "explain", "a").stdout
        return any(word in said for word in words)

    release.until(f"one of {words}", is_told)

    assert said.split()[:3] == ["a", "is", "waiting:" if prepare is quota else "starting"]


def test_doctor_says_all_that_is_wrong(release: Release) -> None:
    """A quota that is used up, a worker that would not be let in, a claim that is not there, a manager that is gone."""
    quota(release)
    worker = {**shell("true", image=release.cluster.shell_image)}
    worker["podTemplate"] = {"spec": {"priorityClassName": "no-such-class"}}
    values = release.values(worker=worker)
    values["volumes"]["out"] = {"persistentVolumeClaim": {"claimName": "nowhere"}}
    release.helm("install", values)
    release.cluster.kubectl("-n", release.namespace, "scale", "deployment/q-manager", "--replicas=0")
    release.until("no manager", lambda: "no manager is running" in longshore(release, "doctor").stdout)

    ended = longshore(release, "doctor")

    wrong = {line.split(":")[0].split()[1]: line for line in ended.stdout.splitlines() if line.startswith("wrong")}
    assert (ended.returncode, sorted(wrong)) == (1, ["claim", "manager", "quota", "source", "worker"]), ended.stdout
    assert "count/jobs.batch 0 of 0" in wrong["quota"]
    assert 'persistentvolumeclaims "nowhere" not found' in wrong["claim"]


def test_who_may_not_look_is_told_which_right_is_missing(release: Release, tmp_path: Path) -> None:
    """Somebody with rights to Jobs and pods only sees the Jobs; doctor names what is missing."""
    (release.media / "a").write_text("a")
    release.helm("install", release.values(worker=shell("true", image=release.cluster.shell_image)))
    release.until("done", lambda: release.outcome("a") == "Complete")
    rules = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    ]
    with somebody_with(release.cluster, release.namespace, rules, tmp_path):
        kubeconfig = tmp_path / "kubeconfig"
        listed = longshore(release, "ls", "-q", "q", "-o", "name", kubeconfig=kubeconfig)
        looked = longshore(release, "doctor", "-q", "q", kubeconfig=kubeconfig)
        retried = longshore(release, "retry", "-q", "q", "a", kubeconfig=kubeconfig)

    assert (listed.returncode, listed.stdout) == (0, "a\n")
    assert "portforward" in listed.stderr
    assert "the ledger can't be read, so what has no Job any more is not shown" in listed.stderr
    assert "not allowed: list events, list configmaps, watch configmaps, get pods/portforward" in looked.stdout
    assert retried.returncode == 1


@pytest.mark.parametrize("has_page", [False, True])
def test_the_rights_that_doctor_asks_for_are_the_roles(has_page: bool) -> None:
    """One table, held to the chart; a page shows what workers wrote."""
    shipped = {
        (verb, group, resource)
        for rule in shipped_rules(status={"enabled": has_page})
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    assert {
        (one.verb, one.group, f"{one.resource}/{one.subresource}".rstrip("/"))
        for one in managers_rights("auto", has_page=has_page)
    } == shipped
