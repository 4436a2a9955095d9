"""What a Prometheus and a Grafana get of the chart: rules that fire, metrics that exist, pages that say what to do."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from longshore.breaker import Breaker
from longshore.manager import Survey
from longshore.metrics import Metrics
from longshore.plan import Limits, Verdict
from longshore.scaling import Decision, Load, Rule
from longshore_kit.contract import ItemList
from support.cluster import tools

from .conftest import CHART, Chart

CI = CHART / "ci"
RUNBOOK = CHART.parents[1] / "docs" / "operate.md"
DASHBOARD = json.loads((CHART / "dashboards" / "longshore.json").read_text(encoding="utf-8"))
PANELS = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
QUEUE = 'namespace="media",queue="private-orders"'


@pytest.fixture(scope="module")
def manifests(chart: Chart) -> dict[str, dict[str, Any]]:
    """With all that monitoring has."""
    return chart.manifests("--values", str(CI / "monitored-values.yaml"))


@pytest.fixture(scope="module")
def rules(manifests: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The alert rules, by name."""
    (group,) = manifests["PrometheusRule/thumbs-manager"]["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus' own checker."""
    try:
        return str(tools.promtool())
    except tools.Missing as exc:
        pytest.skip(str(exc))


def exported() -> dict[str, set[str]]:
    """Every series that a manager exports which knows all that one can know, with the names of its labels."""
    metrics = Metrics(Limits(), version="1")
    metrics.note_request("get", 200)
    verdict = Verdict(Decision(1, Load(), Rule(), offered=1.0), Breaker())
    metrics.note(Survey(ItemList(()), at=1.0, listed_at=1.0, verdict=verdict))
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def asked(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Every series that an expression names, with the labels by which it selects, without those of the target."""
    for name, selector in re.findall(r"\b(longshore_\w+)(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*[=!]", selector)) - {"namespace", "queue"}


def check(promtool: str, *arguments: str | Path) -> None:
    """Promtool finds nothing wrong."""
    ended = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_what_rules_and_dashboard_ask_for_is_exported(rules: dict[str, dict[str, Any]]) -> None:
    """Each name, with each label by which it is selected: an alert on what there is not never fires."""
    there = exported()
    all_asked = [one for text in (*EXPRESSIONS, *(rule["expr"] for rule in rules.values())) for one in asked(text)]

    assert len(all_asked) > 30
    assert [
        (name, labels) for name, labels in all_asked if not labels <= there.get(name, set()) or name not in there
    ] == []


def test_what_is_exported_is_shown(rules: dict[str, dict[str, Any]]) -> None:
    """In the dashboard or in a rule: what nobody looks at need not be counted."""
    seen = {name for text in (*EXPRESSIONS, *(rule["expr"] for rule in rules.values())) for name, _ in asked(text)}
    families = {name.removesuffix("_sum").removesuffix("_count").removesuffix("_bucket") for name in exported()}
    own = {name for name in families if name.endswith("_created")}

    assert {name for name in families - own if not any(one.startswith(name) for one in seen)} == set()


@pytest.mark.parametrize("scenario", ["monitored", "metrics"])
def test_prometheus_takes_the_rules(chart: Chart, promtool: str, tmp_path: Path, scenario: str) -> None:
    """By its own checker, with its own lint."""
    found = chart.manifests("--values", str(CI / f"{scenario}-values.yaml"))
    (tmp_path / "rules.yaml").write_text(
        yaml.safe_dump(found["PrometheusRule/thumbs-manager"]["spec"]), encoding="utf-8"
    )

    check(promtool, "check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml")


def test_prometheus_takes_what_the_dashboard_asks(promtool: str, tmp_path: Path) -> None:
    """Each expression, as a rule that records it."""
    rules = [
        {"record": f"panel_{number}", "expr": expression.replace("$namespace", "n").replace("$queue", "q")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    document = {"groups": [{"name": "panels", "rules": rules}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    check(promtool, "check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml")


FINE = {
    'longshore_build_info{version="1"}': "1x120",
    'longshore_mode{mode="running"}': "1x120",
    'longshore_mode{mode="paused"}': "0x120",
    'longshore_items{state="waiting"}': "3x120",
    'longshore_items{state="starting"}': "0x120",
    'longshore_items{state="running"}': "2x120",
    'longshore_items_finished_total{outcome="done"}': "0+10x120",
    'longshore_items_finished_total{outcome="failed"}': "0+1x120",
    "longshore_last_look_timestamp_seconds": "0+60x120",
    "longshore_ledger_up": "1x120",
    "longshore_source_up": "1x120",
    "longshore_breaker_open": "0x120",
    "longshore_oldest_waiting_seconds": "60x120",
    "longshore_parallelism_actual": "2x120",
    "longshore_parallelism_maximum": "2x120",
    "longshore_parallelism_frozen": "0x120",
}
"""Two hours of a queue that is well, a minute apart: what Prometheus' own tests take for a series."""
ILL: dict[str, tuple[dict[str, str | None], int]] = {
    "LongshoreManagerDown": (dict.fromkeys(FINE), 10),
    "LongshoreManagerNotLooking": ({"longshore_last_look_timestamp_seconds": "0x120"}, 11),
    "LongshoreLedgerUnavailable": (
        {"longshore_ledger_up": "0x120", "longshore_last_look_timestamp_seconds": "0x120"},
        5,
    ),
    "LongshoreSourceDown": ({"longshore_source_up": "0x120"}, 10),
    "LongshoreBreakerOpen": ({"longshore_breaker_open": "1x120"}, 5),
    "LongshoreItemsFailing": ({'longshore_items_finished_total{outcome="failed"}': "0+5x120"}, 7),
    "LongshoreItemsWaitTooLong": ({"longshore_oldest_waiting_seconds": "7201x120"}, 10),
    "LongshoreNoRoom": (
        {
            "longshore_oldest_waiting_seconds": "7201x120",
            "longshore_parallelism_frozen": "1x120",
            "longshore_parallelism_actual": "1x120",
        },
        20,
    ),
    "LongshoreNoProgress": (
        {
            'longshore_items{state="running"}': "0x120",
            'longshore_items_finished_total{outcome="done"}': "9x120",
            'longshore_items_finished_total{outcome="failed"}': "9x120",
        },
        16,
    ),
}
"""By the alert: what is another than usual, and in which minute at the latest it is told."""
WELL: dict[str, dict[str, str | None]] = {
    "as usual": {},
    "one of few failed": {
        'longshore_items_finished_total{outcome="done"}': "0x120",
        'longshore_items_finished_total{outcome="failed"}': "0 1x119",
    },
    "paused, with items that wait": {
        'longshore_mode{mode="running"}': "0x120",
        'longshore_mode{mode="paused"}': "1x120",
        'longshore_items{state="running"}': "0x120",
        'longshore_items_finished_total{outcome="done"}': "9x120",
        'longshore_items_finished_total{outcome="failed"}': "0x120",
    },
    "a long wait, with places that are free": {
        "longshore_oldest_waiting_seconds": "7201x120",
        "longshore_parallelism_actual": "1x120",
    },
    "no room, and nothing that has waited for long": {
        "longshore_parallelism_frozen": "1x120",
        "longshore_parallelism_actual": "1x120",
    },
    "a breaker that is open, with nothing that waits": {
        "longshore_breaker_open": "1x120",
        'longshore_items{state="waiting"}': "0x120",
    },
    "nothing to do": {
        'longshore_items{state="waiting"}': "0x120",
        'longshore_items{state="running"}': "0x120",
        'longshore_items_finished_total{outcome="done"}': "9x120",
        'longshore_items_finished_total{outcome="failed"}': "9x120",
    },
}


def series(changed: dict[str, str | None]) -> list[dict[str, str]]:
    """What Prometheus has scraped, with some of it changed, or not there."""
    return [
        {"series": with_queue(name), "values": values}
        for name, values in (FINE | changed).items()
        if values is not None
    ]


def with_queue(name: str) -> str:
    """With the labels that the monitor gives."""
    return f"{name[:-1]},{QUEUE}}}" if name.endswith("}") else f"{name}{{{QUEUE}}}"


def firing(
    rules: dict[str, dict[str, Any]], changed: dict[str, str | None], minute: int, alerts: set[str]
) -> dict[str, Any]:
    """A test for promtool: in this minute these alerts fire, and no others."""
    values = 'ALERTS{alertstate="firing"}'
    labels = {name: f'{{alertname="{name}", severity="{rules[name]["labels"]["severity"]}"}}' for name in alerts}
    return {
        "interval": "1m",
        "input_series": series(changed),
        "promql_expr_test": [
            {
                "expr": f"count by (alertname, severity) ({values})",
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": labels[name], "value": 1} for name in sorted(alerts)],
            }
        ],
    }


def run_tests(promtool: str, folder: Path, rules: dict[str, dict[str, Any]], tests: list[dict[str, Any]]) -> None:
    """Promtool's own tests of rules."""
    groups = {"groups": [{"name": "longshore", "rules": list(rules.values())}]}
    (folder / "rules.yaml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    check(promtool, "test", "rules", folder / "tests.yaml")


@pytest.mark.parametrize("alert", ILL)
def test_each_alert_fires_for_what_it_is_for_alone(
    promtool: str, rules: dict[str, dict[str, Any]], tmp_path: Path, alert: str
) -> None:
    """In its time, and no other alert with it: who is woken should know by what."""
    changed, minute = ILL[alert]

    run_tests(promtool, tmp_path, rules, [firing(rules, changed, at, {alert}) for at in (minute, 60)])


def test_a_breaker_that_is_open_before_any_item_waits_is_told(
    promtool: str, rules: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Five that can't start, and no other yet: the next ones would stand still."""
    changed: dict[str, str | None] = {
        "longshore_breaker_open": "1x120",
        'longshore_items{state="waiting"}': "0x120",
        'longshore_items{state="starting"}': "5x120",
    }

    run_tests(promtool, tmp_path, rules, [firing(rules, changed, at, {"LongshoreBreakerOpen"}) for at in (6, 60)])


def test_a_manager_that_never_looked_is_not_looking(
    promtool: str, rules: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """It has no time of a last look, and says of the source only that it does not know it to be up."""
    unknown = ("longshore_last_look_timestamp_seconds", "longshore_ledger_up", 'longshore_mode{mode="running"}')
    changed: dict[str, str | None] = {**dict.fromkeys(unknown), "longshore_source_up": "0x120"}

    run_tests(promtool, tmp_path, rules, [firing(rules, changed, at, {"LongshoreManagerNotLooking"}) for at in (6, 60)])


@pytest.mark.parametrize("case", WELL)
def test_a_queue_that_is_well_alerts_nobody(
    promtool: str, rules: dict[str, dict[str, Any]], tmp_path: Path, case: str
) -> None:
    """In two hours."""
    run_tests(promtool, tmp_path, rules, [firing(rules, WELL[case], at, set()) for at in (20, 60, 110)])


def test_each_alert_is_tested(rules: dict[str, dict[str, Any]]) -> None:
    """A new one is to have a case here."""
    assert set(rules) == set(ILL)


def test_each_alert_leads_to_a_section_of_the_runbook(rules: dict[str, dict[str, Any]]) -> None:
    """Of docs/operate.md, by the anchor that GitHub makes of its heading; and no section is of no alert."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = {name: rule["annotations"]["runbook_url"] for name, rule in rules.items()}

    assert {name: link.partition("#")[2] for name, link in links.items()} == {name: name.lower() for name in rules}
    assert {link.partition("#")[2] for link in links.values()} <= anchors
    assert {heading for heading in headings if heading.startswith("Longshore")} == set(rules)


def test_each_alert_says_which_queue_and_how_bad(rules: dict[str, dict[str, Any]]) -> None:
    """In words, before anybody opens a page."""
    for rule in rules.values():
        assert "private-orders" in rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_every_panel_says_what_it_shows_in_which_unit() -> None:
    """And no two lie on one another."""
    assert [
        one["title"] for one in PANELS if not one["description"] or not one["fieldConfig"]["defaults"]["unit"]
    ] == []
    places = [
        (x, y)
        for one in PANELS
        for x in range(one["gridPos"]["x"], one["gridPos"]["x"] + one["gridPos"]["w"])
        for y in range(one["gridPos"]["y"], one["gridPos"]["y"] + one["gridPos"]["h"])
    ]
    assert (len(places), max(x for x, _ in places)) == (len(set(places)), 23)


def test_the_dashboard_is_for_any_queue_and_arrives_whole(manifests: dict[str, dict[str, Any]]) -> None:
    """It asks by its variables only, and helm reads none of Grafana's braces."""
    data = manifests["ConfigMap/thumbs-dashboard"]["data"]["longshore.json"]

    assert json.loads(data) == DASHBOARD
    assert [
        text for text in EXPRESSIONS if text.count("longshore_") != text.count('namespace="$namespace", queue="$queue"')
    ] == []


def test_the_service_monitor_finds_the_service_and_the_service_the_pod(manifests: dict[str, dict[str, Any]]) -> None:
    """By labels, and ports by their names."""
    monitor, service = manifests["ServiceMonitor/thumbs-manager"], manifests["Service/thumbs-manager"]
    pod = manifests["Deployment/thumbs-manager"]["spec"]["template"]
    (endpoint,), (port,) = monitor["spec"]["endpoints"], service["spec"]["ports"]
    ports = {one["name"]: one["containerPort"] for one in pod["spec"]["containers"][0]["ports"]}

    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert (endpoint["port"], ports[port["targetPort"]]) == (port["name"], 8082)


@pytest.mark.parametrize("kind", ["PodMonitor", "ServiceMonitor"])
def test_either_monitor_names_the_queue(chart: Chart, kind: str) -> None:
    """The label by which alerts and the dashboard find it."""
    switch = f"{kind[0].lower()}{kind[1:]}.enabled=true"
    manifests = chart.manifests("--values", str(CI / "host-path-values.yaml"), "--set", switch)
    monitor = manifests[f"{kind}/thumbs-manager"]["spec"]
    (endpoint,) = monitor["podMetricsEndpoints" if kind == "PodMonitor" else "endpoints"]

    assert endpoint["relabelings"] == [{"targetLabel": "queue", "replacement": "thumbs"}]
