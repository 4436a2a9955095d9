"""The conformance kit: tells whether an ambassador or a worker, in any language, keeps its contract.

Two ways in, one set of rules. As a check, which is what `longshore conform` prints:

    for result in check_source("http://127.0.0.1:8080"): print(result)

and as tests of your own; pytest runs the rules, and nothing here imports pytest:

    class TestMine(SourceContract):
        url = "http://127.0.0.1:8080"

docs/source-contract.md and docs/worker-contract.md hold the rules in words.
"""

from longshore_kit.conform.rules import CheckResult, NothingToCheck, NotOffered, NotTried, Violation, check
from longshore_kit.conform.source import SourceContract, check_source
from longshore_kit.conform.worker import WorkerContract, check_worker

__all__ = [
    "CheckResult",
    "NotOffered",
    "NotTried",
    "NothingToCheck",
    "SourceContract",
    "Violation",
    "WorkerContract",
    "check",
    "check_source",
    "check_worker",
]
