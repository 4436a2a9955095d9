"""The chart: what it makes of values, and what it says of wrong ones."""

import copy
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from longshore.queuefile import parse
from longshore.service import ManagerSettings
from longshore.sources import Source, source_variables

from .conftest import CHART, KUBE_VERSION, Chart, queue_config

SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
GOOD: dict[str, Any] = {
    "volumes": {"media": {"hostPath": {"path": "/srv"}}},
    "source": {"kind": "nfs", "volumes": ["media"]},
    "worker": {"image": "worker-ffmpeg", "volumes": ["media"]},
}


def scenario_id(path: Path) -> str:
    """A scenario by its file."""
    return path.name.removesuffix("-values.yaml")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=scenario_id)
def test_every_scenario_renders_as_it_did(chart: Chart, scenario: Path, snapshot: SnapshotAssertion) -> None:
    """A change of any manifest is seen, and read, before it is anybody's."""
    assert chart.manifests("--values", str(scenario)) == snapshot


@pytest.mark.parametrize("scenario", SCENARIOS, ids=scenario_id)
def test_helm_finds_nothing_to_complain_of(chart: Chart, scenario: Path) -> None:
    """`helm lint --strict`."""
    ended = chart.run("lint", "--strict", str(CHART), KUBE_VERSION, "--values", str(scenario))

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("scenario", SCENARIOS, ids=scenario_id)
def test_the_manager_reads_the_queue_file_that_the_chart_writes(chart: Chart, scenario: Path) -> None:
    """The file in the ConfigMap is a queue file of the same models, for every scenario."""
    manifests = chart.manifests("--values", str(scenario))
    text = queue_config(manifests)["data"]["queue.yaml"]

    assert parse(text, "queue.yaml").queue.name in {"thumbs", "private-orders"}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=scenario_id)
def test_the_ambassadors_variables_are_made_by_the_same_rule_as_on_a_laptop(chart: Chart, scenario: Path) -> None:
    """`source.nfs.settleSeconds` is NFS_SETTLE_SECONDS in both, lists are JSON, what is empty is left out."""
    document = yaml.safe_load(scenario.read_text())
    source = Source.model_validate(document["source"])
    containers = chart.manifests("--values", str(scenario))["Deployment/thumbs-manager"]["spec"]["template"]["spec"][
        "containers"
    ]
    names = [container["name"] for container in containers]
    made = {
        one["name"]: one["value"]
        for container in containers
        if container["name"] == "ambassador"
        for one in container["env"]
        if one["name"] != "LOG_FORMAT"
    }
    expected = source_variables(source, {name: f"/{name}" for name in source.volumes}) if "ambassador" in names else {}
    # What the file leaves out the models fill with the ambassador's own defaults, and the chart leaves out.
    given = document["source"].get(source.kind, {}).keys()
    prefix = f"{source.kind.upper()}_"
    # Where in a pod things are.
    own = {"QUEUE_FILE", "LIST_FOLDER", "LISTEN_PORT"}

    assert {key: normal(value) for key, value in made.items() if key not in own} == {
        key: normal(value)
        for key, value in expected.items()
        if not key.startswith(prefix) or camel(key.removeprefix(prefix)) in given
    }


def normal(text: str) -> object:
    """A list in JSON whatever its spaces."""
    return json.loads(text) if text.startswith(("[", "{")) else text


def camel(name: str) -> str:
    """SETTLE_SECONDS → settleSeconds."""
    head, *rest = name.lower().split("_")
    return head + "".join(part.capitalize() for part in rest)


def changed(path: str, value: object) -> dict[str, Any]:
    """Good values with one of them changed."""
    document = copy.deepcopy(GOOD)
    place = document
    *steps, last = path.split(".")
    for step in steps:
        place = place.setdefault(step, {})
    place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("source.volumes", [], 'source.kind is "nfs" but source.volumes is empty'),
        ("source.kind", "custom", "set source.custom.url"),
        ("source", {"kind": "s3", "s3": {"bucket": "abc", "prefx": "x"}}, "additional properties 'prefx' not allowed"),
        ("source.kind", "s3", 'source.kind is "s3" but source.s3.bucket is empty: set source.s3.bucket'),
        ("source.kind", "kafka", 'source.kind is "kafka" but source.kafka.bootstrapServers is empty'),
        ("source", {"kind": "redis", "redis": {"url": "redis://r"}}, "source.redis.key is empty: set source.redis.key"),
        ("source", {"kind": "redis", "redis": {"url": "redis://r", "kind": "keys"}}, "set source.redis.pattern"),
        ("source.kind", "list", "set source.list.items, or source.list.file"),
        ("source", {"kind": "list", "list": {"file": "a.csv"}}, "set source.list.configMap"),
        ("source", {"kind": "custom", "custom": {"command": ["x"]}}, "source.custom.command needs an image"),
        ("source.volumes", ["medai"], 'source.volumes: there is no volume "medai": there are media'),
        ("worker.volumes", ["out"], 'worker.volumes: there is no volume "out"'),
        ("volumes.media", {"readOnly": True}, "volumes.media: give exactly one of hostPath, nfs"),
        ("volumes.media.hostPath.path", "./videos", "on a cluster it must be absolute"),
        ("worker.image", "", "worker.image is empty"),
        ("scaling", {"min": 5, "max": 2}, "scaling.min is 5, more than scaling.max, 2"),
        ("scaling.max", "many", "got string, want integer"),
        ("scalin", {"max": 2}, "additional properties 'scalin' not allowed"),
        ("manager.logLevel", "LOUD", "value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
        ("podUser", 0, "minimum: got 0, want 1"),
        ("prometheusRule", {"enabled": True}, "set podMonitor.enabled or serviceMonitor.enabled"),
        ("prometheusRule.failedRatio", 2, "maximum: got 2, want 1"),
    ],
)
def test_misuse_fails_when_it_is_rendered_and_says_the_fix(
    chart: Chart, values: Callable[[dict[str, Any]], str], path: str, value: object, words: str
) -> None:
    """Nothing reaches a cluster that can't work there."""
    ended = chart.template("--values", values(changed(path, value)))

    assert (ended.returncode != 0, words in ended.stderr) == (True, True), ended.stderr


def test_a_manager_is_scraped_by_one_monitor(chart: Chart, values: Callable[[dict[str, Any]], str]) -> None:
    """Two would count everything twice."""
    both = {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}

    ended = chart.template("--values", values(GOOD | both))

    assert (ended.returncode != 0, "leave one of them" in ended.stderr) == (True, True), ended.stderr


def container_of(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The manager's."""
    containers = manifests["Deployment/thumbs-manager"]["spec"]["template"]["spec"]["containers"]
    return next(one for one in containers if one["name"] == "manager")


def status_variables(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the manager is told of its status page."""
    return {one["name"]: one for one in container_of(manifests)["env"] if one["name"].startswith("STATUS_")}


def test_nothing_of_the_status_page_is_there_unless_it_is_asked_for(
    chart: Chart, values: Callable[[dict[str, Any]], str]
) -> None:
    """It shows names and logs."""
    manifests = chart.manifests("--values", values(GOOD | {"networkPolicy": {"enabled": True}}))
    (rule,) = manifests["NetworkPolicy/thumbs-manager"]["spec"]["ingress"]

    assert (status_variables(manifests), [one["name"] for one in container_of(manifests)["ports"]]) == ({}, ["health"])
    assert "Service/thumbs-manager" not in manifests
    assert 8083 not in [port["port"] for port in rule["ports"]]


def test_the_status_page_is_where_its_service_leads(chart: Chart) -> None:
    """The manager's own settings read what the chart says; the page answers to the names of its Service."""
    manifests = chart.manifests("--values", str(CHART / "ci" / "status-values.yaml"))
    told = status_variables(manifests)
    token = told.pop("STATUS_TOKEN")
    settings = ManagerSettings.from_environment({name: one["value"] for name, one in told.items()})
    (port,) = manifests["Service/thumbs-manager"]["spec"]["ports"]
    ports = {one["name"]: one["containerPort"] for one in container_of(manifests)["ports"]}
    _, for_status = manifests["NetworkPolicy/thumbs-manager"]["spec"]["ingress"]

    assert token["valueFrom"] == {"secretKeyRef": {"name": "thumbs-status", "key": "token"}}
    assert (settings.status_port, ports[port["targetPort"]], for_status["ports"]) == (8083, 8083, [{"port": 8083}])
    assert set(settings.status_hosts) >= {"thumbs-manager", "thumbs-manager.media.svc", "queue.example"}
    assert for_status["from"]


def test_a_status_page_without_a_secret_only_shows(chart: Chart, values: Callable[[dict[str, Any]], str]) -> None:
    """No token, so nothing can be changed from it; and any pod may look."""
    more = {"status": {"enabled": True}, "networkPolicy": {"enabled": True}}
    manifests = chart.manifests("--values", values(GOOD | more))
    _, for_status = manifests["NetworkPolicy/thumbs-manager"]["spec"]["ingress"]

    assert (set(status_variables(manifests)), for_status) == (
        {"STATUS_PORT", "STATUS_HOSTS"},
        {"ports": [{"port": 8083}]},
    )


def test_two_releases_share_no_name(chart: Chart, values: Callable[[dict[str, Any]], str]) -> None:
    """They live in one namespace."""
    file = values(GOOD)
    first = chart.manifests("--values", file)
    other = chart.run("template", "sounds", str(CHART), "--namespace", "media", KUBE_VERSION, "--values", file)
    second = {f"{one['kind']}/{one['metadata']['name']}" for one in yaml.safe_load_all(other.stdout) if one}

    assert set(first) & second == set()


def test_the_schema_is_the_one_that_the_models_print() -> None:
    """`.venv/bin/python charts/values_schema.py` writes it."""
    spec = importlib.util.spec_from_file_location("values_schema", CHART.parent / "values_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert (CHART / "values.schema.json").read_text(encoding="utf-8") == module.text()


def test_every_value_has_its_sentence() -> None:
    """Each leaf of values.yaml has a `# --` line over it."""
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    leaves = [
        index
        for index, line in enumerate(lines)
        if re.match(r"^ *[a-zA-Z]+: \S", line) and not (lines[index - 1].lstrip().startswith(("requests", "resources")))
    ]

    assert [lines[index] for index in leaves if not over(lines, index)] == []


def over(lines: list[str], index: int) -> bool:
    """Whether a sentence stands over a line, or over the map that it is a default of."""
    above = lines[index - 1].strip()
    return above.startswith("# --") or lines[index].strip().startswith(("requests:", "limits:"))


def test_a_workers_pod_passes_pod_security_restricted(chart: Chart, values: Callable[[dict[str, Any]], str]) -> None:
    """What the chart lays over every Job's pod."""
    manifests = chart.manifests("--values", values(GOOD))
    pod = yaml.safe_load(queue_config(manifests)["data"]["queue.yaml"])["worker"]["podTemplate"]["spec"]

    assert (pod["securityContext"]["runAsNonRoot"], pod["containers"][0]["securityContext"]) == (
        True,
        {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    )
