"""Whether a queue can work here, looked at part by part: what a person would try one by one, with what to do next.

Owns what is looked at and how it is told. Changes nothing: what would be made is only shown to the API server, as a
dry run. A part that can't be looked at is `unknown`, and the others are looked at all the same.
"""

import contextlib
import enum
import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from longshore.explain import reason_of
from longshore.local import LocalQueue, asked
from longshore.queuefile import Queue
from longshore.rights import PERSONS_RIGHTS, Right, managers_rights
from longshore.source import Items
from longshore.sources import looked_for
from longshore.state import Job, State
from longshore_kit.errors import EngineError, LongshoreError
from longshore_kit.logs import get_logger

if TYPE_CHECKING:
    from longshore.cluster import ClusterQueue, ManagerPod, Quota

OLDEST: Final = (1, 31)
"""The oldest Kubernetes that has all that a Job of ours asks for."""


class Health(enum.StrEnum):
    """How a part is."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One part that was looked at."""

    health: Health
    part: str
    words: str = ""
    """What was found; of what is wrong, what to do."""


def of_machine(local: LocalQueue, environ: Mapping[str, str]) -> Iterator[Finding]:
    """A queue of this machine."""
    yield _tried("worker", lambda: _check_worker(local, environ), "it can be started here")
    yield _tried("state folder", local.expect_state_folder, str(local.state_folder))
    yield _of_source(lambda: asked(local, environ, get_logger("longshore.doctor")), local.queue)


def _check_worker(local: LocalQueue, environ: Mapping[str, str]) -> None:
    with contextlib.closing(local.engine(environ)) as engine:
        engine.check(local.sample_bundle(engine))


def of_cluster(found: "ClusterQueue") -> Iterator[Finding]:
    """A queue of a cluster, with the rights of who looks."""
    yield from _looked("cluster", lambda: [_of_version(found.version())])
    for commands, rights in PERSONS_RIGHTS.items():
        part, advice = f"your rights for {commands}", "ask for them, or see with others'"
        yield from _looked(part, functools.partial(_of_rights, part, rights, found.may, advice))
    yield from _looked("manager", lambda: _of_manager(found, found.manager()))
    yield _of_source(found.source, found.queue)
    yield from _looked("items", lambda: [_of_items(list(found.engine.jobs().values()))])
    if found.queue is None:
        yield Finding(Health.UNKNOWN, "worker", "the queue file can't be seen: there is no release, or no right to it")
    else:
        yield from _looked("worker", lambda: [_of_worker(found)])
        for name in _claims(found.queue):
            yield from _looked(f"claim {name}", functools.partial(_of_claim, found, name))
    yield from _looked("quota", lambda: _of_quotas(found.quotas()))


def _looked(part: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What there is to say of a part; that it can't be looked at is all, where that is so."""
    try:
        yield from list(look())
    except EngineError as exc:
        yield Finding(Health.UNKNOWN, part, str(exc))


def _tried(part: str, do: Callable[[], object], words: str) -> Finding:
    try:
        do()
    except LongshoreError as exc:
        return Finding(Health.WRONG, part, str(exc))
    return Finding(Health.OK, part, words)


def _of_source(opened: Callable[[], AbstractContextManager[Items]], queue: Queue | None) -> Finding:
    try:
        with opened() as source:
            items = source.list_items()
    except LongshoreError as exc:
        return Finding(Health.WRONG, "source", str(exc))
    waits = f", and {items.pending_count} not listed yet: still settling" if items.pending_count else ""
    number = len(items.names)
    found = f"it lists {number} {'item' if number == 1 else 'items'}"
    if not number:
        found = f"it lists nothing now{f'; it looks for {looked_for(queue.spec.source)}' if queue else ''}"
    return Finding(Health.OK, "source", f"{found}{waits}")


def _of_items(jobs: Sequence[Job]) -> Finding:
    stuck = [job for job in jobs if job.state is State.STARTING and job.reason]
    failed = [job for job in jobs if job.state is State.FAILED]
    if stuck:
        return Finding(Health.WRONG, "items", f"{len(stuck)} do not start; {_told_of(stuck)}")
    if failed and not any(job.state is State.DONE for job in jobs):
        return Finding(Health.WRONG, "items", f"none is done, {len(failed)} failed; {_told_of(failed)}")
    counts = Counter(job.state for job in jobs)
    told = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    return Finding(Health.OK, "items", told or "none has a Job yet")


def _told_of(jobs: Sequence[Job]) -> str:
    last = max(jobs, key=lambda job: job.since)
    return f"the last: {last.item}: {reason_of(last)}"


def _of_version(version: str) -> Finding:
    numbers = re.match(r"v(\d+)\.(\d+)", version)
    if numbers is None:
        return Finding(Health.UNKNOWN, "cluster", f"it says that it is {version!r}")
    if (int(numbers[1]), int(numbers[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return Finding(Health.WRONG, "cluster", f"it is {version}: {oldest} is the oldest that Longshore works on")
    return Finding(Health.OK, "cluster", version)


def _of_rights(part: str, rights: Sequence[Right], may: Callable[[Right], bool], advice: str) -> Iterator[Finding]:
    lacking = [str(right) for right in rights if not may(right)]
    if lacking:
        yield Finding(Health.WRONG, part, f"not allowed: {', '.join(lacking)}; {advice}")
    else:
        yield Finding(Health.OK, part, f"{len(rights)} of {len(rights)}")


def _of_manager(found: "ClusterQueue", manager: "ManagerPod | None") -> Iterator[Finding]:
    if manager is None:
        yield Finding(Health.WRONG, "manager", "no manager is running: helm status says what became of the release")
        return
    if not manager.is_up:
        yield Finding(Health.WRONG, "manager", f"pod {manager.name}: {manager.trouble or 'it is still starting'}")
    else:
        yield Finding(Health.OK, "manager", f"pod {manager.name}")
    if found.queue is not None:
        part = f"rights of {manager.account}"
        rights = managers_rights(found.queue.spec.worker.payload)
        yield from _looked(part, functools.partial(_of_managers_rights, found, part, rights, manager.account))


def _of_managers_rights(found: "ClusterQueue", part: str, rights: Sequence[Right], account: str) -> Iterator[Finding]:
    if found.may(Right("create", "subjectaccessreviews", "authorization.k8s.io")):
        may = functools.partial(found.may, account=account)
        yield from _of_rights(part, rights, may, "the chart's Role has them all (rbac.create)")
    else:
        told = "you may not ask for those of others; the manager's log tells what is refused"
        yield Finding(Health.UNKNOWN, part, told)


def _of_worker(found: "ClusterQueue") -> Finding:
    if not found.may(Right("create", "jobs", "batch")) or not found.may(Right("create", "pods")):
        told = "you may not create Jobs and pods, so whether one is let in can't be tried"
        return Finding(Health.UNKNOWN, "worker", told)
    return _tried("worker", found.try_worker, "the cluster would take its Job and its pod (a dry run)")


def _claims(queue: Queue) -> list[str]:
    claims = (volume.persistent_volume_claim for volume in queue.spec.volumes.values())
    return sorted({claim.claim_name for claim in claims if claim})


def _of_claim(found: "ClusterQueue", name: str) -> Iterator[Finding]:
    part = f"claim {name}"
    if not found.may(Right("get", "persistentvolumeclaims")):
        yield Finding(Health.UNKNOWN, part, "you may not see claims")
        return
    try:
        phase = found.claim_phase(name)
    except EngineError as exc:
        yield Finding(Health.WRONG, part, str(exc))
        return
    # Pending may mean nothing but that it waits for its first pod.
    lost = phase == "Lost"
    yield Finding(Health.WRONG if lost else Health.OK, part, "its volume is lost" if lost else phase)


def _of_quotas(quotas: "Sequence[Quota]") -> Iterator[Finding]:
    for quota in quotas:
        used_up = [line for line in quota.lines if line.is_used_up]
        lines = ", ".join(f"{line.resource} {line.used} of {line.hard}" for line in used_up or quota.lines)
        part = f"quota {quota.name}"
        yield Finding(Health.WRONG, part, f"used up: {lines}") if used_up else Finding(Health.OK, part, lines)
    if not quotas:
        yield Finding(Health.OK, "quota", "none is set")
