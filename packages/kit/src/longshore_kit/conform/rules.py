"""What a rule is, how rules are found and run, and what comes of one.

A contract is a class; each of its `test_*` methods is one rule, and its docstring says the rule in one sentence. A
rule returns, or raises `Violation`, or `NotTried`. Those two are what pytest takes for a failure and for a skip, by
classes of the standard library, so that a contract is a pytest base class without an import of pytest. `NothingToCheck`
is neither: nobody is there who could keep a rule or break it.
"""

import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from longshore_kit.errors import LongshoreError

Outcome: TypeAlias = Literal["passed", "failed", "skipped"]


class Violation(AssertionError):
    """The contract is broken: what was asked, what was expected, what came, and what to do about it."""

    def __init__(self, request: str, *, expected: str, got: str, to_do: str) -> None:
        super().__init__(f"{request}: expected {expected}, got {got}; {to_do}")


class NotTried(unittest.SkipTest):
    """The rule can't be tried here and now; that says nothing for or against."""


class NotOffered(NotTried):
    """The rule is about an additive feature that is absent, which the contract allows."""


class NothingToCheck(LongshoreError):
    """Nobody listens at the URL, or the program can't be started; checking again helps when that is mended."""

    def __init__(self, what: str, reason: BaseException, *, to_do: str) -> None:
        super().__init__(f"{what}: nothing to check: {reason}; {to_do}")


@dataclass(frozen=True)
class CheckResult:
    """What came of one rule."""

    rule: str
    """The method's name: `test_names_are_unique`."""
    sentence: str
    """The rule, as its docstring says it."""
    outcome: Outcome
    detail: str
    """Why it failed or was skipped; empty when it passed."""

    @property
    def title(self) -> str:
        """The rule as people read it: "names are unique"."""
        return _title(self.rule)


def see(rule: Callable[[], None]) -> str:
    """Where to look instead, by its title."""
    return f"see: {_title(rule.__name__)}"


def check(contract: object) -> list[CheckResult]:
    """
    Every rule of `contract`, tried in the order in which its class states them.

    Raises:
        NothingToCheck: a rule found nobody to ask.
    """
    return [_tried(contract, name) for name in rules_of(type(contract))]


def rules_of(contract: type) -> Iterator[str]:
    """The names of the rules of a class, those of its bases first."""
    names = (name for owner in reversed(contract.__mro__) for name in vars(owner) if name.startswith("test_"))
    yield from dict.fromkeys(names)


def _title(rule: str) -> str:
    return rule.removeprefix("test_").replace("_", " ")


def _tried(contract: object, name: str) -> CheckResult:
    rule = getattr(contract, name)
    sentence = " ".join((rule.__doc__ or name).split())
    try:
        rule()
    except AssertionError as exc:  # also of a rule that a subclass adds with a plain assert
        return CheckResult(name, sentence, "failed", str(exc))
    except unittest.SkipTest as exc:
        return CheckResult(name, sentence, "skipped", str(exc))
    return CheckResult(name, sentence, "passed", "")
