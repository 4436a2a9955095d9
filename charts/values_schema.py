"""Writes charts/longshore/values.schema.json: the queue file's schema, and the keys that only a deployment has.

    .venv/bin/python charts/values_schema.py

tests/chart holds the file to what this prints. Refuses keys that nobody documented: values.yaml and this must agree.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from longshore.queuefile import json_schema

TARGET: Final = Path(__file__).parent / "longshore" / "values.schema.json"

Texts = dict[str, str]
Objects = list[dict[str, Any]]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Global(_Model):
    """Keys that Helm hands to subcharts too."""

    image_registry: str = Field(default="", pattern=r"^[^/\s]*(/[^\s]*)?$")


class Images(_Model):
    """Which images, and how they are pulled."""

    tag: str = ""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: list[str] = []
    digests: dict[str, str] = Field(
        default={}, json_schema_extra={"additionalProperties": {"pattern": "^sha256:[0-9a-f]{64}$"}}
    )


class Manager(_Model):
    """The manager's container and its pod."""

    resources: dict[str, Any] = {}
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    starts_at_once: int = Field(default=16, ge=1, le=64)
    pod_labels: Texts = {}
    pod_annotations: Texts = {}
    node_selector: Texts = {}
    tolerations: Objects = []
    affinity: dict[str, Any] = {}
    priority_class_name: str = ""


class Ambassador(_Model):
    """The ambassador's container."""

    resources: dict[str, Any] = {}
    env: dict[str, str | int | float | bool] = {}


class Rbac(_Model):
    """What the manager may do."""

    create: bool = True


class NetworkPolicy(_Model):
    """Who may speak to whom."""

    enabled: bool = False
    worker_egress: Objects = []
    status_from: Objects = []


class Pdb(_Model):
    """Whether a drain waits."""

    enabled: bool = False


class Status(_Model):
    """Whether and for whom the status page is served."""

    enabled: bool = False
    existing_secret: str = ""
    hosts: list[str] = []


class Monitor(_Model):
    """Whether and how Prometheus scrapes the manager, by its pod or by its Service."""

    enabled: bool = False
    labels: Texts = {}
    interval: str = Field(default="30s", pattern=r"^([0-9]+(ms|s|m|h))+$")


class PrometheusRule(_Model):
    """Whether and when Prometheus alerts."""

    enabled: bool = False
    labels: Texts = {}
    runbook_url: str = Field(default="https://longshore.dev/docs/operate.md", min_length=1)
    failed_ratio: float = Field(default=0.1, gt=0, le=1)
    oldest_waiting_seconds: int = Field(default=3600, ge=1)


class GrafanaDashboard(_Model):
    """Whether and how a Grafana finds the dashboard."""

    enabled: bool = False
    labels: Texts = {"grafana_dashboard": "1"}


class Deployment(_Model):
    """The keys of values.yaml that a queue file has not."""

    global_: Global = Field(default=Global(), alias="global")
    images: Images = Images()
    manager: Manager = Manager()
    ambassador: Ambassador = Ambassador()
    pod_user: int = Field(default=65532, ge=1)
    rbac: Rbac = Rbac()
    network_policy: NetworkPolicy = NetworkPolicy()
    pdb: Pdb = Pdb()
    status: Status = Status()
    pod_monitor: Monitor = Monitor()
    service_monitor: Monitor = Monitor()
    prometheus_rule: PrometheusRule = PrometheusRule()
    grafana_dashboard: GrafanaDashboard = GrafanaDashboard()


def values_schema() -> dict[str, Any]:
    """The schema of the chart's values: draft 2020-12, which Helm 3.18 and newer read."""
    queue, deployment = json_schema(), Deployment.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the Longshore chart",
        "type": "object",
        "additionalProperties": False,
        "properties": queue["properties"] | deployment["properties"],
        "required": queue.get("required", []),
        "$defs": queue["$defs"] | deployment["$defs"],
    }


def text() -> str:
    """The file as it is written."""
    return json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
