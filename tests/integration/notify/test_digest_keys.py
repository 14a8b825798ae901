"""A receiver that has seen a key drops what comes under it: what says more goes under another."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from cloud.notify.channel import Channel
from cloud.notify.settings import NotifySettings
from tests.integration.notify.conftest import World
from tests.integration.notify.test_http import Receiver, receiver, secret_file

__all__ = ["receiver", "secret_file"]


@pytest.fixture
def sms(receiver: Receiver, secret_file: Path) -> Channel:
    [channel] = NotifySettings.model_construct(
        sms_url=receiver.url, sms_body='{"text": "$text"}', sms_secret_file=secret_file, http_timeout_s=1
    ).channels()
    return channel


def _alert(world: World, number: int) -> None:
    said = {"severity": "high", "rule": "overload", "message": f"Alert {number}", "subject": "MTR-1"}
    world.put("alert", channel="sms", **said, started_at="2026-03-01T12:00:00+00:00")


@pytest.mark.parametrize("another", [True, False])
async def test_what_joins_a_digest_whose_answer_was_lost_is_not_taken_for_what_came_before(
    another: bool, world: World, sms: Channel, receiver: Receiver
) -> None:
    """C3: the dedupe key stands, and what comes after is a duplicate and lost."""
    world.do("UPDATE users SET phone = '+4930123456' WHERE user_id = 1")
    world.do("UPDATE user_preferences SET notify_sms = true WHERE user_id = 1")
    world.per_hour = 1
    for number in range(3):
        _alert(world, number)
    await world.work(sms)
    world.now += timedelta(minutes=61)
    receiver.status = 0
    await world.work(sms)
    receiver.status = 204
    world.now += timedelta(seconds=7)
    if another:
        _alert(world, 3)
    await world.work(sms)

    said = [json.loads(body)["text"] for _, body in receiver.got[1:]]
    assert [text.partition(":")[0] for text in said] == [f"there were {n} alerts" for n in (2, 3 if another else 2)]
    assert len(set(receiver.keys[1:])) == (2 if another else 1)
