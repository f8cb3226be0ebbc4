"""What waits for a client, and whether it is listened to meanwhile."""

from __future__ import annotations

import asyncio

from scumble.server.outbox import Outbox, Outcome


def test_only_the_next_result_is_kept_in_memory() -> None:
    outbox = Outbox()
    outbox.outcome("a", b"result of a")
    outbox.outcome("b", b"result of b")
    waiting = [asyncio.run(outbox.get()) for _ in range(2)]
    assert waiting == [b"result of a", Outcome("b")]


def test_a_client_is_listened_to_again_as_soon_as_there_is_room_for_one_more() -> None:
    async def say() -> None:
        outbox = Outbox(capacity=2)
        outbox.answer("first")
        outbox.answer("second")
        listening = asyncio.create_task(outbox.room())
        await asyncio.sleep(0)
        assert not listening.done()
        assert await outbox.get() == "first"
        await asyncio.wait_for(listening, 5)

    asyncio.run(say())
