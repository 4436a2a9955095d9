"""When an offset is committed: when all below it is done, and not before."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Consumer

from images.ambassador_kafka.topics import PROGRAM, Topic
from support.programs import installed

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


def test_what_has_no_record_yet_is_not_done_before_it_is_there(topic: Topic) -> None:
    """An acknowledgement from the future is of nothing: the record that comes is listed."""
    topic.put(b"1")
    with topic.ambassador() as ambassador:
        ambassador.names()
        code = ambassador.done(topic.names(1)[0]).status_code
        topic.put(b"2")
        listed = ambassador.names()

    assert (code, listed) == (204, topic.names(0, 1))


def test_a_list_that_is_made_while_things_are_done_sets_nothing_back(topic: Topic) -> None:
    """What was done is never listed again, and at the end all of it is committed."""
    topic.put(*[b"x"] * 200)
    with topic.ambassador() as ambassador, ThreadPoolExecutor(4) as pool:
        names = ambassador.names()
        acknowledging = [pool.submit(ambassador.done, name) for name in names]
        came_again = []
        while not all(one.done() for one in acknowledging):
            done = {name for name, one in zip(names, acknowledging, strict=True) if one.done()}
            came_again += sorted(done & set(ambassador.names()))
        left = ambassador.names()

    assert (came_again, left, topic.committed()) == ([], [], 200)


def test_a_group_that_is_ahead_of_its_topic_is_told(topic: Topic) -> None:
    """A topic that was made anew would be passed over as done, in silence."""
    topic.put(b"1")
    topic.commit(500)
    with topic.ambassador() as ambassador:
        reply = ambassador.get("/api/v1/items")

    assert reply.status_code == 503
    assert reply.json()["message"] == (
        f"the group has committed offset 500 of {topic.name}/0, which ends at 1: "
        "the topic was made anew, or restored; set the group to where it should go on"
    )


def test_a_setting_that_the_library_refuses_is_told_without_its_value(topic: Topic) -> None:
    """64 and the reason, once; what stands in KAFKA_CONFIG may be a password."""
    config = '{"sasl.mechanism": "canary-4711", "no.such.setting": "canary-4711"}'
    ended = subprocess.run(
        [installed(PROGRAM)], env=topic.environ(KAFKA_CONFIG=config), capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr.startswith("KAFKA_CONFIG: ")) == (64, True), ended
    assert "no.such.setting" in ended.stderr
    assert "canary" not in ended.stderr
