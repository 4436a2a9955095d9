"""One manager of one queue in a cluster: the loop over the Kubernetes engine, as a process of its own.

Owns the settings of the manager's container, its health, and its end: within two seconds of SIGTERM, whatever is
under way, since every step of it can be done again. The queue file is the chart's, in a ConfigMap.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from longshore.cluster_ledger import ClusterLedger
from longshore.control import Control
from longshore.engines.kubernetes import Api, KubernetesEngine, Recorder, Reference
from longshore.ledger import Ledger
from longshore.manager import Manager, SourcePoller, Survey, limits_of
from longshore.manifests import mounts_at_root
from longshore.metrics import CONTENT_TYPE, Metrics
from longshore.queuefile import Queue, load
from longshore.source import HttpSource
from longshore.typed import KUBECTL, command_line
from longshore.web.actions import Actions, Retry
from longshore.web.board import Board, Inside
from longshore.web.serving import status_server
from longshore.web.settings import StatusSettings
from longshore_kit.ambassador.server import WebServer, bound
from longshore_kit.logs import LogFormat, LogLevel, configure, get_logger
from longshore_kit.settings import log_format_setting, log_level_setting, setting
from longshore_kit.signals import stop_on_signals

ALIVE_SECONDS: Final = 180.0
"""A loop that has not looked for so long hangs: its longest pause and its longest patience with the API server."""
_HEALTH_THREADS: Final = 2


class ManagerSettings(StatusSettings):
    """Settings of the manager's container."""

    queue_file: Path = setting(
        "The queue file; the chart mounts it from a ConfigMap.", unit="path", default=Path("/etc/longshore/queue.yaml")
    )
    source_url: str = setting(
        "Where the ambassador answers: in the same pod, on loopback.",
        unit="http:// URL",
        default="http://127.0.0.1:8080",
        pattern="^http://",
    )
    namespace: str = setting("Where the Jobs are made; empty: the pod's own namespace.", unit="name", default="")
    pod_name: str = setting(
        "The manager's own pod, in the same namespace, for Events about the queue; empty: only Jobs get Events.",
        unit="name",
        default="",
    )
    pod_uid: str = setting("The same pod's uid; the chart has both from the downward API.", unit="uid", default="")
    starts_at_once: int = setting(
        "Items that are asked for, and Jobs that are created, side by side.", unit="number", default=16, ge=1, le=64
    )
    health_port: int = setting(
        "Where health and metrics are served, on all addresses, for the kubelet and Prometheus.",
        unit="port",
        default=8082,
        ge=0,
        le=65535,
    )
    status_port: int = setting(
        "Where the status page is served, on all addresses; it names items and shows what their workers wrote; "
        "0: nowhere.",
        unit="port",
        default=0,
        ge=0,
        le=65535,
    )
    trial_image: str = setting(
        "For `--try` alone: the image that its worker runs, which is this one; the chart says it.",
        unit="image reference",
        default="",
    )
    log_format: LogFormat = log_format_setting()
    log_level: LogLevel = log_level_setting()


def serve(settings: ManagerSettings) -> None:
    """
    Manage until SIGTERM or SIGINT, then end the process; call it in the main thread.

    Raises:
        SettingsError: the queue file, a port or the cluster's configuration is wrong.
    """
    configure(settings.log_format, level=settings.log_level)
    queue = load(settings.queue_file)
    log = get_logger("longshore.manager", queue=queue.name)
    metrics = Metrics(limits_of(queue), version=version("longshore"))
    api = Api.connect(namespace=settings.namespace or None, on_reply=metrics.note_request)
    health = _Health(metrics)
    with WebServer(health.app, bound("HEALTH_PORT", settings.health_port, ""), _HEALTH_THREADS):
        engine = KubernetesEngine(api, queue.name, mounts=mounts_at_root(list(queue.spec.volumes)))
        recorder = Recorder(api, queue.name, _pod(settings))
        ledger = ClusterLedger(api, queue.name)
        manager = manager_of(queue, settings.source_url, engine, ledger, ledger, starts_at_once=settings.starts_at_once)
        inside = Inside(
            log=engine.log,
            workers=engine.last_pods,
            troubles=manager.troubles,
            fullness=manager.fullness,
            retry_command=lambda item: command_line("retry", ["-q", queue.name, "-n", api.namespace], item, by=KUBECTL),
        )
        board = Board(queue.name, limits_of(queue), version=version("longshore"), inside=inside)
        stopping = stop_on_signals(manager.wake)
        log.info("manager started", namespace=api.namespace, parallel_max=queue.spec.scaling.max)

        def seen(survey: Survey) -> None:
            health.note(survey)
            board.note(survey)
            breaker = survey.verdict.breaker if survey.verdict else None
            recorder.note(
                survey.changes, survey.source_error, breaker.sentence() if breaker and breaker.is_open else ""
            )

        def failed(failure: Exception) -> None:
            health.note_failure(failure)
            board.note_failure(failure)

        with _status_page(board, settings, Actions(retry=Retry(engine, ledger, manager.wake), control=ledger)):
            manager.run(stopping, seen, failed)
    log.info("manager stopped")
    # Starts under way would be waited for; what is half made is made whole by the next manager.
    sys.stderr.flush()
    os._exit(0)


def _status_page(board: Board, settings: ManagerSettings, actions: Actions) -> AbstractContextManager[object]:
    if not settings.status_port:
        return nullcontext()
    return status_server(board, settings, port=settings.status_port, host="", variable="STATUS_PORT", actions=actions)


def _pod(settings: ManagerSettings) -> Reference | None:
    if settings.pod_name and settings.pod_uid:
        return Reference("v1", "Pod", settings.pod_name, settings.pod_uid)
    return None


def manager_of(
    queue: Queue, source_url: str, engine: KubernetesEngine, ledger: Ledger, control: Control, *, starts_at_once: int
) -> Manager:
    """The manager of `queue`, whose ambassador answers at `source_url`."""
    log = get_logger("longshore.manager", queue=queue.name)
    return Manager(
        queue,
        items=HttpSource(source_url),
        poller=SourcePoller(HttpSource(source_url), log),
        engine=engine,
        ledger=ledger,
        pool=ThreadPoolExecutor(starts_at_once, thread_name_prefix="start"),
        log=log,
        control=control,
    )


class _Health:
    """Whether the loop lives, whether it has seen its Jobs, and its metrics."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics: Final = metrics
        self._clock: Final = clock
        self._looked_at = clock()
        self._has_looked = False

    def note(self, survey: Survey) -> None:
        """The loop has looked."""
        self._metrics.note(survey)
        self._looked_at = self._clock()
        self._has_looked = True

    def note_failure(self, failure: Exception) -> None:
        """The loop lives, though it could not look: a new process would see no more."""
        self._metrics.note_failure(failure)
        self._looked_at = self._clock()

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """`/healthz`, `/readyz` and `/metrics`, as a WSGI application."""
        if environ["PATH_INFO"] == "/metrics":
            start_response("200 OK", [("Content-Type", CONTENT_TYPE)])
            return [self._metrics.text()]
        is_fine = {
            "/healthz": self._clock() - self._looked_at < ALIVE_SECONDS,
            "/readyz": self._has_looked,
        }.get(environ["PATH_INFO"])
        status = "404 Not Found" if is_fine is None else "200 OK" if is_fine else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{status[4:].lower()}\n".encode()]
