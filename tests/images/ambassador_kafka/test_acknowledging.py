"""When an offset is committed: when all below it is done, and not before."""

import pytest
from confluent_kafka import Consumer

from images.ambassador_kafka.topics import Topic

pytestmark = pytest.mark.slow


def test_what_is_done_in_order_is_committed_at_once(topic: Topic) -> None:
    """One after the other; done twice is done once."""
    topic.put(b"1", b"2")
    with topic.ambassador() as ambassador:
        first, second = ambassador.names()
        codes = [ambassador.done(first).status_code, ambassador.done(first).status_code]
        after_one = topic.committed()
        ambassador.done(second)
        left = ambassador.names()

    assert (codes, after_one, topic.committed(), left) == ([204, 204], 1, 2, [])


def test_what_is_done_out_of_order_is_held_until_the_gap_closes(topic: Topic) -> None:
    """Not listed any more, and not committed, so that nobody takes the first for done."""
    topic.put(*[b"x"] * 4)
    with topic.ambassador() as ambassador:
        names = ambassador.names()
        for index in (3, 1, 2):
            ambassador.done(names[index])
        listed, committed = ambassador.names(), topic.committed()
        ambassador.done(names[0])
        left = ambassador.names()

    assert (listed, committed, left, topic.committed()) == (names[:1], 0, [], 4)


def test_what_is_held_survives_a_restart(topic: Topic) -> None:
    """It is marked beside the committed offset: the next ambassador lists none of it again."""
    topic.put(*[b"x"] * 300)
    done = {number for number in range(1, 300) if number % 7 not in {2, 5}}
    with topic.ambassador() as ambassador:
        names = ambassador.names()
        for index in done:
            ambassador.done(names[index])
        ambassador.process.kill()
    with topic.ambassador() as ambassador:
        listed = ambassador.names()
        ambassador.done(names[0])

    assert listed == [name for index, name in enumerate(names) if index not in done]
    assert topic.committed() == min(set(range(1, 300)) - done)


def test_without_ack_nothing_is_committed(topic: Topic) -> None:
    """`KAFKA_ACK=false`: the capability is not offered."""
    topic.put(b"1")
    with topic.ambassador(KAFKA_ACK="false") as ambassador:
        info = ambassador.get("/api/v1").json()
        (name,) = ambassador.names()
        code = ambassador.done(name).status_code

    assert (info["capabilities"], code, topic.committed()) == ([], 405, -1001)


@pytest.mark.parametrize("name", ["a/b/c", "{topic}/0/7000", "other/0/0"])
def test_what_is_no_record_of_ours_is_done_already(topic: Topic, name: str) -> None:
    """A name that is gone, or never was, is no error, and moves nothing."""
    topic.put(b"1")
    with topic.ambassador() as ambassador:
        names = ambassador.names()
        code = ambassador.done(name.format(topic=topic.name)).status_code
        listed = ambassador.names()

    assert (code, listed, topic.committed() <= 0) == (204, names, True)


def test_no_partition_is_taken_from_anybody(wide: Topic) -> None:
    """A consumer of another group goes on as before; one that is in this group is told of, and loses nothing."""
    wide.put(b"1")
    member = Consumer(
        {
            "bootstrap.servers": wide.server.address,
            "group.id": wide.name,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    member.subscribe([wide.name])
    while not member.assignment():
        member.poll(0.1)
    with wide.ambassador() as ambassador:
        (name,) = ambassador.names()
        refused = ambassador.done(name)
        member.poll(0.1)
        assigned = len(member.assignment())
    member.close()

    assert (refused.status_code, assigned) == (503, 3)
    assert "could not be committed" in refused.json()["message"]
