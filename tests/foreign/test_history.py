"""Pull (PROTOCOL section 10)."""

from tidegate.v1.client_pb2 import INVALID_ARGUMENT, LIMIT, PERMISSION_DENIED, Page, Pull

from quic import Quic


async def filled(world, transport, count: int):
    """Two users, `count` messages from one to the other, and the reader's session."""
    alice, bob = world.device("alice"), world.device("bob")
    one = await alice.connect(transport)
    for number in range(count):
        await one.send(receiver_id=bob.user, local_id=f"m-{number}", content=str(number + 1).encode())
    for number in range(count):
        await one.stored(f"m-{number}")
    reader = await bob.connect(transport)
    await reader.until_cursor(count)
    return alice, bob, reader


async def pull(session, **fields) -> Page:
    id = await session.request(pull=Pull(**fields))
    arrival = await session.kind("page", id)
    has_streams = isinstance(session.transport, Quic)
    assert arrival.way == (f"page {id}" if has_streams else "control"), "a stream of its own"
    return arrival.frame.page


def seqs(page: Page) -> list[int]:
    for entry in page.entries:
        assert entry.timeline == "" and entry.msg.content == str(entry.seq).encode()
    return [entry.seq for entry in page.entries]


async def test_pages(world, transport):
    alice, bob, reader = await filled(world, transport, 7)
    conversation = "d:" + ":".join(sorted([alice.user, bob.user]))
    for timeline in ("", conversation, f"i:{bob.user}"):
        for fields, expected, more in [
            ({"before": 0, "limit": 3}, [5, 6, 7], True),
            ({"before": 5, "limit": 10}, [1, 2, 3, 4], False),
            ({"after": 0, "limit": 3}, [1, 2, 3], True),
            ({"after": 4}, [5, 6, 7], False),
            ({"after": 7}, [], False),
        ]:
            page = await pull(reader, timeline=timeline, **fields)
            assert (seqs(page), page.more) == (expected, more), (timeline, fields)
            assert (page.timeline, page.head, page.floor) == (timeline, 7, 1)
    assert bob.cursor == 7, "Pull moves no cursor"


async def test_what_is_refused(world, transport):
    *_, reader = await filled(world, transport, 1)
    for fields, code in [
        ({"timeline": f"i:{world.user('alice')}", "before": 0}, PERMISSION_DENIED),
        ({"timeline": "d:eve:mallory", "before": 0}, PERMISSION_DENIED),
        ({"timeline": "nothing", "before": 0}, INVALID_ARGUMENT),
        ({}, INVALID_ARGUMENT),
        ({"after": -1}, INVALID_ARGUMENT),
        ({"before": 0, "limit": 1001}, INVALID_ARGUMENT),
        ({"before": 0, "limit": -1}, INVALID_ARGUMENT),
    ]:
        id = await reader.request(pull=Pull(**fields))
        assert (await reader.kind("error", id)).frame.error.code == code, fields
    assert seqs(await pull(reader, before=0)) == [1]


async def test_a_page_is_bounded(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    one = await alice.connect(transport)
    for number in range(4):
        await one.send(receiver_id=bob.user, local_id=f"m-{number}", content=b"x" * 30_000)
        await one.stored(f"m-{number}")
    cursor, entries, pages = 0, 0, 0
    while True:
        page = await pull(one, after=cursor)
        assert page.ByteSize() <= 64 * 1024
        cursor, entries, pages = page.entries[-1].seq, entries + len(page.entries), pages + 1
        if not page.more:
            break
    assert (cursor, entries) == (4, 4) and pages >= 2


async def test_one_pull_at_a_time(world, transport):
    """The second has its Page, or is refused when the first was still being read."""
    session = await world.device("alice").connect(transport)
    first, second = await session.request(pull=Pull(after=0)), await session.request(pull=Pull(after=0))
    await session.kind("page", first)
    answer = (await session.next(lambda frame: frame.id == second, "an answer")).frame
    assert answer.HasField("page") or answer.error.code == LIMIT


async def test_an_expired_message_is_gone_and_keeps_its_seq(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    one = await alice.connect(transport)
    for number, expire_at in ((1, 0), (2, 1), (3, 0)):
        content = str(number).encode()
        await one.send(receiver_id=bob.user, local_id=f"m-{number}", content=content, expire_at=expire_at)
        await one.stored(f"m-{number}")
    reader = await bob.connect(transport, lanes=2)
    await reader.until_cursor(3)
    assert sorted((seq, msg and msg.content) for seq, msg in bob.received) == [(1, b"1"), (2, None), (3, b"3")]
    page = await pull(reader, before=0)
    assert [(entry.seq, entry.WhichOneof("entry")) for entry in page.entries] == [(1, "msg"), (2, "gone"), (3, "msg")]
