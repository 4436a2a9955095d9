"""The source's conformance rules: the kit's own ambassador keeps them all, and each wrong one breaks just its own."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from longshore_kit.ambassador import create_app
from longshore_kit.conform import CheckResult, SourceContract, Violation, check, check_source
from longshore_kit.conform.rules import NothingToCheck, rules_of
from support.ambassadors import MemorySource, serving
from support.queues import NASTY_NAMES
from support.wrong_ambassadors import WRONG, Answer, Reply, Request, right, right_with, served

HURRIED_SECONDS = 2.5
"""For a reply that may be held for one second; enough, since a late one here never comes."""


class Hurried(SourceContract):
    """The rules, without much patience for a held reply."""

    held_seconds = HURRIED_SECONDS


class TestKitAmbassador(SourceContract):
    """The kit's ambassador over every nasty name, through a real server and real sockets."""

    @pytest.fixture(autouse=True)
    def serve(self) -> Iterator[None]:
        """The ambassador, for one rule."""
        with serving(create_app(MemorySource(NASTY_NAMES))) as url:
            self.url = url
            yield


class TestPlainAmbassador(SourceContract):
    """An ambassador on the standard library alone: the rules ask for nothing of the kit's own."""

    @pytest.fixture(autouse=True)
    def serve(self) -> Iterator[None]:
        """The ambassador, for one rule."""
        with served(right) as url:
            self.url = url
            yield


def results_of(answer: Answer) -> list[CheckResult]:
    """What comes of every rule for an ambassador."""
    with served(answer) as url:
        tried = Hurried()
        tried.url = url
        return check(tried)


@pytest.mark.parametrize(
    ("rule", "answer"), [pytest.param(rule, answer, id=f"{rule}-{how}") for rule, how, answer in WRONG]
)
def test_a_wrong_ambassador_breaks_just_its_rule(rule: str, answer: Answer) -> None:
    """An ambassador with one fault fails the one rule that names it."""
    assert [result.rule for result in results_of(answer) if result.outcome == "failed"] == [rule]


def test_every_rule_has_a_wrong_ambassador() -> None:
    """No rule is there that nothing has ever broken."""
    assert {rule for rule, _, _ in WRONG} == set(rules_of(SourceContract))


def test_the_kits_ambassador_passes_every_rule() -> None:
    """By function too, the kit's ambassador passes all: none is skipped, as it offers all that is additive."""
    with serving(create_app(MemorySource(NASTY_NAMES))) as url:
        results = check_source(url)

    assert {result.rule: result.outcome for result in results} == dict.fromkeys(rules_of(SourceContract), "passed")


def test_additive_features_may_be_absent() -> None:
    """An ambassador without ETag and paging breaks nothing; the rules about them are skipped, and say so."""

    def tiny(request: Request) -> Reply:
        reply = right(replace(request, query={}, headers={}))
        return replace(reply, headers={name: value for name, value in reply.headers.items() if name != "ETag"})

    assert {result.rule: result.detail for result in results_of(tiny) if result.outcome != "passed"} == {
        "test_known_list_is_not_sent_again": "the list has no ETag",
        "test_pages_make_up_the_list": "limit is ignored",
        "test_unknown_tokens_are_refused": "limit is ignored",
        "test_bad_limits_are_refused": "limit is ignored",
        "test_held_reply_comes_in_time": "the list has no ETag",
    }


def test_an_empty_source_breaks_nothing() -> None:
    """An ambassador with nothing to list is right; what needs items is skipped."""
    needs_items = {
        "test_listed_items_are_given",
        "test_book_paths_answer_the_same",
        "test_pages_make_up_the_list",
        "test_unknown_tokens_are_refused",
        "test_bad_limits_are_refused",
    }

    assert {result.rule: result.outcome for result in results_of(right_with(()))} == {
        rule: "skipped" if rule in needs_items else "passed" for rule in rules_of(SourceContract)
    }


def test_a_violation_says_what_to_do() -> None:
    """A violation names the request, what was expected, what came, and what to do."""
    with served(right_with((".",))) as url:
        tried = SourceContract()
        tried.url = f"{url}/"
        with pytest.raises(Violation) as raised:
            tried.test_names_are_allowed()

    assert str(raised.value) == (
        f"GET {url}/api/v1/items: expected names that the contract allows, got '.': clients remove it from URLs; "
        "leave it out and report it"
    )


def test_nobody_there_is_nothing_to_check() -> None:
    """A refused connection says nothing of any rule: one error that says what to do, not six failures."""
    with served(right) as url:
        pass
    with pytest.raises(NothingToCheck) as raised:
        check_source(url)

    assert str(raised.value) == (
        f"{url}: nothing to check: [Errno 111] Connection refused; start the ambassador first, and see where it listens"
    )


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "http://", "ftp://127.0.0.1", "http://[::1", "http://a..b"])
def test_what_is_no_url_is_nothing_to_check(url: str) -> None:
    """Nobody can listen there."""
    with pytest.raises(NothingToCheck):
        check_source(url)


def test_an_ambassador_that_goes_down_fails() -> None:
    """Nobody there any more is a failure of what was asked for, and the rest is not tried: see the rule that failed."""
    with served(right) as url:
        pass
    tried = SourceContract()
    tried.url = url
    results = {result.rule: result for result in check(tried)}

    assert results["test_list_is_an_item_list"].detail == (
        f"GET {url}/api/v1/items: expected an answer within 30 s, got ConnectionRefusedError: "
        "[Errno 111] Connection refused; see whether it runs, and its log"
    )
    assert {result.outcome for result in results.values()} == {"failed", "skipped"}
    assert results["test_names_are_unique"].detail == "it needs a list that can be read; see: list is an item list"
    assert results["test_list_is_an_item_list"].title == "list is an item list"
