"""Messages between two clients, over every transport (PROTOCOL sections 8 and 9)."""

import hashlib

from tidegate.v1.client_pb2 import CONFLICT, INVALID_ARGUMENT, PERMISSION_DENIED, TOO_LARGE, UNIMPLEMENTED


def server_id(user: str, local_id: str) -> str:
    return hashlib.sha256(bytes([len(user)]) + user.encode() + local_id.encode()).hexdigest()[:32]


async def test_two_clients_exchange_messages(world, transport, other_transport):
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(transport), await bob.connect(other_transport)
    await one.send(receiver_id=bob.user, local_id="a-1", content=b"hello", content_type=1)
    got = (await other.delivered(b"hello")).frame.deliver
    assert (got.seq, got.msg.send_id, got.msg.receiver_id, got.msg.content_type) == (1, alice.user, bob.user, 1)
    assert (got.timeline, got.msg.seq) == ("", 0), "the own inbox, the seq beside the message"
    assert (got.msg.server_id, got.msg.conv_seq) == (server_id(alice.user, "a-1"), 1)
    assert got.msg.conversation == "d:" + ":".join(sorted([alice.user, bob.user]))

    await other.send(receiver_id=alice.user, local_id="b-1", content=b"\xff\x00 no text")
    back = (await one.delivered(b"\xff\x00 no text")).frame.deliver
    assert (back.seq, back.msg.conv_seq) == (2, 2)
    await other.stored("b-1")
    assert (alice.cursor, bob.cursor) == (2, 2), "STORED of the own message counts as received"


async def test_receipts(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    session = await alice.connect(transport)
    for seq in (1, 2):
        local_id = f"m-{seq}"
        id = await session.send(receiver_id=bob.user, local_id=local_id, content=b"x")
        accepted = (await session.kind("receipt", id)).frame.receipt
        assert (accepted.local_id, accepted.server_id) == (local_id, server_id(alice.user, local_id))
        stored = await session.stored(local_id)
        assert (stored.seq, stored.conv_seq, stored.send_time) == (seq, seq, accepted.send_time)
        assert stored.server_id == accepted.server_id and stored.send_time > 0


async def test_who_sends_is_who_the_token_says(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(transport), await bob.connect(transport)
    forged = {"send_id": "somebody", "server_id": "x", "seq": 9, "conv_seq": 9, "send_time": 9, "is_read": True}
    await one.send(receiver_id=bob.user, local_id="m", content=b"hello", conversation="c:x", **forged)
    msg = (await other.delivered(b"hello")).frame.deliver.msg
    assert (msg.send_id, msg.server_id, msg.conv_seq) == (alice.user, server_id(alice.user, "m"), 1)
    assert msg.send_time > 9 and not msg.is_read and msg.conversation.startswith("d:")


async def test_the_other_devices_of_the_sender_get_the_message(world, transport):
    phone, laptop, bob = world.device("alice", "phone"), world.device("alice", "laptop"), world.device("bob")
    one, other = await phone.connect(transport), await laptop.connect(transport)
    await one.send(receiver_id=bob.user, local_id="m", content=b"hello")
    stored = await one.stored("m")
    assert (await other.delivered(b"hello")).frame.deliver.seq == stored.seq


async def test_sending_again_is_harmless(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(transport), await bob.connect(transport)
    message = {"receiver_id": bob.user, "local_id": "m", "content": b"once"}
    await one.send(**message, create_time=1)
    first = await one.accepted("m"), await one.stored("m")
    await one.send(**message, create_time=2)
    assert (await one.accepted("m"), await one.stored("m")) == first

    # And on another session, as after a lost receipt.
    await one.transport.cut()
    one = await alice.connect(transport)
    await one.send(**message, create_time=3)
    assert (await one.accepted("m"), await one.stored("m")) == first

    await one.send(receiver_id=bob.user, local_id="n", content=b"afterwards")
    await other.delivered(b"afterwards")
    assert bob.contents() == [b"once", b"afterwards"] and bob.cursor == 2


async def test_the_same_local_id_for_another_message_is_a_conflict(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(transport), await bob.connect(transport)
    await one.send(receiver_id=bob.user, local_id="m", content=b"first")
    await one.stored("m")
    await one.send(receiver_id=bob.user, local_id="m", content=b"second")
    refused = await one.rejected("m")
    assert refused.code == CONFLICT and refused.message
    await one.send(receiver_id=bob.user, local_id="n", content=b"third")
    await other.delivered(b"third")
    assert bob.contents() == [b"first", b"third"]


async def test_what_is_refused(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    session = await alice.connect(transport)
    cases = [
        ({}, INVALID_ARGUMENT),
        ({"receiver_id": "a b"}, INVALID_ARGUMENT),
        ({"receiver_id": "x" * 65}, INVALID_ARGUMENT),
        ({"receiver_id": bob.user, "channel": "c"}, INVALID_ARGUMENT),
        ({"receiver_id": bob.user, "msg_type": 24}, INVALID_ARGUMENT),
        ({"receiver_id": bob.user, "content": b"x" * (64 * 1024 + 1)}, TOO_LARGE),
        ({"group_id": "g"}, UNIMPLEMENTED),
        ({"channel": "a b"}, INVALID_ARGUMENT),
        ({"channel": "@system"}, PERMISSION_DENIED),
    ]
    for number, (fields, code) in enumerate(cases):
        id = await session.send(local_id=f"m-{number}", **fields)
        receipt = (await session.kind("receipt", id)).frame.receipt
        assert (receipt.local_id, receipt.code) == (f"m-{number}", code), fields
    await session.is_alive()


async def test_the_largest_message(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(transport), await bob.connect(transport)
    content = b"0123456789abcdef" * 4096
    await one.send(receiver_id=bob.user, local_id="m", content=content)
    await other.delivered(content)
    await one.stored("m")
