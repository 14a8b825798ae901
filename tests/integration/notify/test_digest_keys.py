"""A receiver that has seen a key drops what comes under it: what says more goes under another."""

import json
from datetime import timedelta

import pytest

from cloud.notify.channel import Channel
from tests.integration.notify.conftest import World
from tests.integration.notify.test_http import Receiver, receiver, secret_file, webhook

__all__ = ["receiver", "secret_file", "webhook"]


def _alert(world: World, number: int) -> None:
    said = {"severity": "high", "rule": "overload", "message": f"Alert {number}", "subject": "MTR-1"}
    world.put("alert", channel="webhook", **said, started_at="2026-03-01T12:00:00+00:00")


@pytest.mark.parametrize("another", [True, False])
async def test_what_joins_a_digest_whose_answer_was_lost_is_not_taken_for_what_came_before(
    another: bool, world: World, webhook: Channel, receiver: Receiver
) -> None:
    """C3: the dedupe key stands, and what comes after is a duplicate and lost."""
    world.per_hour = 1
    for number in range(3):
        _alert(world, number)
    await world.work(webhook)
    world.now += timedelta(minutes=61)
    receiver.status = 0
    await world.work(webhook)
    receiver.status = 204
    world.now += timedelta(seconds=7)
    if another:
        _alert(world, 3)
    await world.work(webhook)

    digests = [len(one) for one in _payloads(receiver)[1:]]
    assert digests == [2, 3 if another else 2]
    assert len(set(receiver.keys[1:])) == (2 if another else 1)


def _payloads(receiver: Receiver) -> list[list[object]]:
    return [json.loads(body)["payloads"] for _, body in receiver.got]
