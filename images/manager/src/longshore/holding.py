"""What keeps all items of a queue from being started, in one phrase, for every place that tells. Pure."""

from longshore.breaker import Breaker
from longshore.control import Mode
from longshore.explain import duration, safe


def held_back(mode: Mode, breaker: Breaker | None, *, resume: str = "", now: float | None = None) -> str:
    """
    Why nothing is started but for trials; empty: nothing keeps it from that.

    `resume`: the command that ends a pause. `now`, in seconds since the epoch: when the next trial is, is said too.
    """
    if not mode.may_start:
        return f"the queue is {mode}: nothing new is started{f'; to go on: {resume}' if resume else ''}"
    if breaker is None or not breaker.is_open:
        return ""
    trial = "one trial at a time goes on"
    if now is not None and breaker.next_probe is not None:
        wait = breaker.next_probe - now
        trial += f", the next in {duration(wait)}" if wait > 0 else ", the next with the next item that waits"
    return f"the breaker is {safe(breaker.sentence())}; {trial}"
