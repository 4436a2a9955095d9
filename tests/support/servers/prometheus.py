"""A Prometheus that scrapes one manager, with the labels that the chart's monitors give its series."""

import json
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

import yaml

from support.servers.process import Server, free_port, program


class PrometheusServer(Server):
    """One server, which keeps what it has scraped for as long as it is there."""

    def __init__(self, target: str, labels: dict[str, str]) -> None:
        super().__init__()
        self._port: Final = free_port()
        self._program: Final = program("prometheus", "make test-servers")
        job = {"job_name": "longshore", "static_configs": [{"targets": [target], "labels": labels}]}
        settings = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")

    def command(self) -> Sequence[str]:
        place = f"--web.listen-address={self.host}:{self._port}"
        return [self._program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", place]

    def is_up(self) -> bool:
        """Whether it takes queries."""
        with urllib.request.urlopen(f"http://{self.host}:{self._port}/-/ready") as reply:
            return bool(reply.status == 200)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression gives now: each its labels and its value."""
        question = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://{self.host}:{self._port}/api/v1/query?{question}") as reply:
            answer = json.loads(reply.read())
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found
