"""A queue in a cluster, as somebody outside of it reaches it: with a kubeconfig, and only that person's own rights.

Owns how a release's parts are found, by the labels that the chart gives them. Changes nothing itself; what is not
there, or may not be seen, is said, and the rest still works.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import msgspec

from longshore.cluster_ledger import ClusterLedger
from longshore.engines.kubernetes import Api, KubernetesEngine
from longshore.engines.kubernetes.api import Forbidden, Invalid, decoded
from longshore.engines.kubernetes.forward import forwarded
from longshore.engines.kubernetes.objects import Metadata, PodObject, condition, why_waiting
from longshore.manifests import QUEUE_LABEL, bundle_for, mounts_at_root, sample_item
from longshore.names import job_name
from longshore.queuefile import Queue, parse
from longshore.rights import Right
from longshore.source import HttpSource
from longshore_kit.errors import EngineError, ManifestRefused, SettingsError, SourceUnavailable

RELEASE_LABEL: Final = "longshore.dev/release-queue"
"""On every object of a release: its queue's name."""
MANAGER: Final = "app.kubernetes.io/component=manager"
QUEUE_KEY: Final = "queue.yaml"
SOURCE_PORT: Final = 8080
_LOOKED_AT: Final = 500
"""Jobs that are looked at for the names of queues, when the one that was asked for is not there."""


class _Pods(msgspec.Struct):
    items: list[PodObject]


class _Version(msgspec.Struct, rename="camel"):
    git_version: str


class _Allowed(msgspec.Struct):
    allowed: bool


class _Review(msgspec.Struct):
    status: _Allowed


class _Phase(msgspec.Struct):
    phase: str = ""


class _Claim(msgspec.Struct):
    status: _Phase


class _QuotaStatus(msgspec.Struct):
    hard: dict[str, str] = {}
    used: dict[str, str] = {}


class _Quota(msgspec.Struct):
    metadata: Metadata
    status: _QuotaStatus


class _Quotas(msgspec.Struct):
    items: list[_Quota]


class _Labelled(msgspec.Struct):
    """A ConfigMap or a Job, for its labels; of a ConfigMap what it holds."""

    metadata: Metadata
    data: dict[str, str] = {}


class _LabelledList(msgspec.Struct):
    items: list[_Labelled]


@dataclass(frozen=True)
class QuotaLine:
    """One resource that is limited, in the quota's own words."""

    resource: str
    hard: str
    used: str

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left; only known of what is counted."""
        return self.hard.isdecimal() and self.used.isdecimal() and int(self.used) >= int(self.hard)


@dataclass(frozen=True)
class Quota:
    """One ResourceQuota."""

    name: str
    lines: tuple[QuotaLine, ...]


@dataclass(frozen=True)
class ManagerPod:
    """The newest pod of a queue's manager."""

    name: str
    account: str
    """Its service account."""
    is_up: bool
    trouble: str
    """Why it is not up; empty when it is, or while nothing is wrong."""


@dataclass(frozen=True)
class ClusterQueue:
    """One queue of one namespace."""

    api: Api
    name: str
    queue: Queue | None
    """Its queue file, as the release has it; None where there is no release, or it may not be read."""
    is_installed: bool | None
    """Whether there is a release; None where that may not be seen."""

    @classmethod
    def find(cls, name: str, *, namespace: str | None, context: str | None) -> Self:
        """
        The queue of this name; with an empty name the namespace's only one.

        Raises:
            SettingsError: there is no such queue, or not only one; the message names those that are there.
            EngineError: the cluster could not be asked.
        """
        api = Api.connect(namespace=namespace, context=context)
        try:
            releases = _releases(api)
        except Forbidden:
            # Whoever may see Jobs only still sees those; who may see nothing is told so by whatever is asked next.
            if name:
                return cls(api, name, None, None)
            raise
        if not name and len(releases) == 1:
            name = next(iter(releases))
        config = releases.get(name)
        if config is None:
            if name and _list(api, "/apis/batch/v1", "jobs", f"{QUEUE_LABEL}={name}", limit=1):
                return cls(api, name, None, is_installed=False)
            raise SettingsError(_not_found(api, name, releases))
        spec = parse(config.data[QUEUE_KEY], f"ConfigMap {config.metadata.name}")
        return cls(api, name, Queue(name=name, spec=spec, folder=Path()), is_installed=True)

    @cached_property
    def engine(self) -> KubernetesEngine:
        """Its Jobs."""
        volumes = list(self.queue.spec.volumes) if self.queue else []
        return KubernetesEngine(self.api, self.name, mounts=mounts_at_root(volumes))

    @cached_property
    def ledger(self) -> ClusterLedger:
        """Its records."""
        return ClusterLedger(self.api, self.name)

    def manager(self) -> ManagerPod | None:
        """
        Its manager's pod, the newest where there are several; None where there is none.

        Raises:
            EngineError: could not look.
        """
        query = {"labelSelector": f"{RELEASE_LABEL}={self.name},{MANAGER}"}
        pods = self.api.read(f"/api/v1/namespaces/{self.api.namespace}/pods", _Pods, query).items
        pods = [pod for pod in pods if not pod.metadata.deletion_timestamp and not pod.has_ended]
        if not pods:
            return None
        pod = max(pods, key=lambda one: one.metadata.creation_timestamp)
        is_up = condition(pod.status.conditions, "ContainersReady") is not None or _runs(pod)
        return ManagerPod(pod.metadata.name, pod.spec.service_account_name, is_up=is_up, trouble=why_waiting(pod))

    @contextlib.contextmanager
    def source(self) -> Iterator[HttpSource]:
        """
        Its source: the ambassador in the manager's pod, through the API server; one of somebody's own at its URL.

        Raises:
            SourceUnavailable: it can't be reached, in words.
        """
        if self.queue and self.queue.spec.source.custom:
            with contextlib.closing(HttpSource(self.queue.spec.source.custom.url)) as source:
                yield source
            return
        with contextlib.ExitStack() as stack:
            try:
                pod = self.manager()
                if pod is None:
                    raise SourceUnavailable("its ambassador is in the manager's pod, and no manager is running")
                if not pod.is_up:
                    raise SourceUnavailable(f"the pod {pod.name} is not up: {pod.trouble or 'it is still starting'}")
                url = stack.enter_context(forwarded(self.api, pod.name, SOURCE_PORT))
            except EngineError as exc:
                raise SourceUnavailable(f"its ambassador can't be reached from here: {exc}") from exc
            try:
                yield stack.enter_context(contextlib.closing(HttpSource(url)))
            except SourceUnavailable as exc:
                # The port here was ours for the moment, and says nothing to anybody.
                raise SourceUnavailable(str(exc).replace(url, f"the ambassador in pod {pod.name}")) from exc

    def may(self, right: Right, *, account: str = "") -> bool:
        """
        Whether who looks, or a service account of the namespace, may do this here.

        Raises:
            EngineError: could not ask.
        """
        asked = {"verb": right.verb, "group": right.group, "resource": right.resource}
        place = {"namespace": self.api.namespace, **({"subresource": right.subresource} if right.subresource else {})}
        spec: dict[str, Any] = {"resourceAttributes": asked | place}
        kind = "SelfSubjectAccessReview"
        if account:
            kind, spec = (
                "SubjectAccessReview",
                {**spec, "user": f"system:serviceaccount:{self.api.namespace}:{account}"},
            )
        group = "authorization.k8s.io/v1"
        path = f"/apis/{group}/{kind.lower()}s"
        reply = self.api.create(path, {"apiVersion": group, "kind": kind, "spec": spec})
        return decoded(reply, _Review, path).status.allowed

    def version(self) -> str:
        """
        Which Kubernetes it is: v1.36.1.

        Raises:
            EngineError: could not ask.
        """
        return self.api.read("/version", _Version).git_version

    def try_worker(self) -> None:
        """
        Show the API server a worker's Job and its pod, as a dry run: a Job is let in where its pods are not.

        Raises:
            ManifestRefused: it would refuse one of the two, and why.
            EngineUnavailable: it did not answer.
        """
        assert self.queue is not None  # noqa: S101 - who asks has looked
        item = sample_item(self.queue.spec.worker)
        bundle = bundle_for(self.queue, item, self.engine.layout(job_name(self.name, item.name)))
        self.engine.check(bundle)
        template = bundle.job["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {**template["metadata"], "name": bundle.name}
        try:
            self.api.create(f"/api/v1/namespaces/{self.api.namespace}/pods", pod, {"dryRun": "All"})
        except (Invalid, Forbidden) as exc:
            raise ManifestRefused(f"its pod: {exc}") from exc

    def claim_phase(self, name: str) -> str:
        """
        What a PersistentVolumeClaim says of itself: Bound, Pending or Lost.

        Raises:
            EngineError: it is not there, or may not be seen.
        """
        path = f"/api/v1/namespaces/{self.api.namespace}/persistentvolumeclaims/{quote(name)}"
        return self.api.read(path, _Claim).status.phase

    def quotas(self) -> list[Quota]:
        """
        The namespace's quotas, with what is used of each.

        Raises:
            EngineError: they may not be seen.
        """
        found = self.api.read(f"/api/v1/namespaces/{self.api.namespace}/resourcequotas", _Quotas).items
        return [
            Quota(
                one.metadata.name,
                tuple(QuotaLine(name, hard, one.status.used.get(name, "0")) for name, hard in one.status.hard.items()),
            )
            for one in found
        ]

    def close(self) -> None:
        """Let go of the cluster."""
        self.ledger.close()
        self.engine.close()


def _runs(pod: PodObject) -> bool:
    """Whether all its containers run: one that is not ready, since its source is away, manages all the same."""
    statuses = pod.status.container_statuses
    return bool(statuses) and all(one.state.running for one in statuses)


def _releases(api: Api) -> Mapping[str, _Labelled]:
    """The releases' queue files, by the queues' names."""
    found = _list(api, "/api/v1", "configmaps", RELEASE_LABEL)
    return {one.metadata.labels[RELEASE_LABEL]: one for one in found if QUEUE_KEY in one.data}


def _not_found(api: Api, name: str, releases: Mapping[str, object]) -> str:
    # A queue whose release was uninstalled still has its Jobs, the record of what is done.
    jobs = _list(api, "/apis/batch/v1", "jobs", QUEUE_LABEL, limit=_LOOKED_AT)
    known = sorted(releases.keys() | {one.metadata.labels[QUEUE_LABEL] for one in jobs})
    if not known:
        return f"there is no queue in namespace {api.namespace}: helm install makes one; or give another with -n"
    asked = f"there is no queue {name!r} in namespace {api.namespace}" if name else "say which queue, with -q"
    return f"{asked}: there are {', '.join(known)}"


def _list(api: Api, group: str, kind: str, selector: str, *, limit: int = 0) -> list[_Labelled]:
    query = {"labelSelector": selector, **({"limit": str(limit)} if limit else {})}
    return api.read(f"{group}/namespaces/{quote(api.namespace)}/{kind}", _LabelledList, query).items
