"""Webhook, SMS and push to a real HTTP receiver."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloud.notify.channel import Channel
from cloud.notify.settings import NotifySettings
from cloud.payments.signature import verify
from tests.integration.notify.conftest import CODE, World

SECRET = "a secret of the receiver that nobody guesses"


@dataclass
class Receiver:
    """What it got: headers and body. It answers with `status` and `headers`, after `delay_s`; 0 cuts the connection."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0

    @property
    def keys(self) -> list[str]:
        return [headers["idempotency-key"] for headers, _ in self.got]

    def document(self) -> Any:
        return json.loads(self.got[-1][1])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            time.sleep(found.delay_s)
            if found.status == 0:
                self.close_connection = True
                return
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Standard error is for what is wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/messages"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_text(f"{SECRET}\n")
    return file


@pytest.fixture
def webhook(receiver: Receiver, secret_file: Path) -> Channel:
    [channel] = NotifySettings.model_construct(
        webhook_url=receiver.url, webhook_secret_file=secret_file, http_timeout_s=1
    ).channels()
    return channel


def _sms(receiver: Receiver, secret_file: Path, **settings: Any) -> Channel:
    [channel] = NotifySettings.model_construct(
        **{"sms_url": receiver.url, "sms_secret_file": secret_file, "http_timeout_s": 1} | settings
    ).channels()
    return channel


def _wants_webhook(world: World, role: str = "OPERATOR") -> None:
    world.do("UPDATE users SET role = %s WHERE user_id = 1", role)
    world.do("UPDATE user_preferences SET notify_webhook = true WHERE user_id = 1")


async def test_a_receiver_knows_who_sent_it_and_when(world: World, webhook: Channel, receiver: Receiver) -> None:
    _wants_webhook(world)
    message = world.put(
        "alert", channel="webhook", message="Too much", subject="MTR-1", started_at="2026-03-01T12:00:00+00:00"
    )
    await world.work(webhook)
    [(headers, body)] = receiver.got
    assert verify([SECRET.encode()], body, headers["segs-signature"], world.now) == world.now.replace(microsecond=0)
    key = str(world.message(message)["message_key"])
    assert (receiver.keys, receiver.document()["id"], receiver.document()["template"]) == ([key], key, "alert")
    assert receiver.document()["payloads"][0]["message"] == "Too much"
    assert world.log(message) == [(1, "delivered", "204 No Content")]


async def test_a_system_gets_each_at_once_at_night_and_in_a_storm(
    world: World, webhook: Channel, receiver: Receiver
) -> None:
    """D15: it has no quiet hours, and one that got a digest would not know which of its incidents are over."""
    _wants_webhook(world)
    world.per_hour = 2
    world.do("UPDATE user_preferences SET quiet_from = '00:00', quiet_until = '23:59:59'")
    for number in range(5):
        world.put("alert", channel="webhook", message=f"Alert {number}", severity="low", subject="M", started_at="now")
    await world.work(webhook)

    assert world.states() == {"delivered": 5}
    said = [json.loads(body)["payloads"] for _, body in receiver.got]
    assert sorted([one["message"] for one in payloads] for payloads in said) == [[f"Alert {n}"] for n in range(5)]


@pytest.mark.parametrize("role", ["USER", "OPERATOR"])
async def test_the_webhook_is_of_who_looks_after_meters(
    role: str, world: World, webhook: Channel, receiver: Receiver
) -> None:
    """D15: also of somebody who was an operator when they chose it."""
    _wants_webhook(world, role)
    if role == "OPERATOR":
        world.do("UPDATE user_preferences SET notify_webhook = false")
    message = world.put("alert", channel="webhook", message="Too much", subject="M", started_at="now")
    await world.work(webhook)

    assert receiver.got == []
    assert world.log(message) == [(0, "unwanted", "the person wants none by webhook")]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *((200, "delivered"), (400, "dead"), (410, "dead"), (422, "dead")),
        *((307, "waiting"), (401, "waiting"), (404, "waiting"), (429, "waiting"), (500, "waiting"), (503, "waiting")),
        (0, "waiting"),
    ],
)
async def test_an_answer_says_what_becomes_of_it(
    status: int, state: str, world: World, webhook: Channel, receiver: Receiver
) -> None:
    """C12."""
    receiver.status, receiver.headers = status, {"location": receiver.url}
    world.put(channel="webhook")
    await world.work(webhook)
    assert (world.states(), len(receiver.got)) == ({state: 1}, 1)

    receiver.status = 200
    world.now += timedelta(seconds=6)
    await world.work(webhook)
    assert world.states() == {"dead" if state == "dead" else "delivered": 1}
    assert len(set(receiver.keys)) == 1


@pytest.mark.parametrize(("said", "waits_s"), [("120", 120), ("99999999", 3600)])
async def test_who_says_when_to_come_again_is_left_alone_until_then(
    said: str, waits_s: int, world: World, webhook: Channel, receiver: Receiver
) -> None:
    """C12: and nobody puts off a message until it is of no use."""
    receiver.status, receiver.headers = 503, {"retry-after": said}
    message = world.put(channel="webhook")
    await world.work(webhook)
    assert world.message(message)["due_at"] == world.now + timedelta(seconds=waits_s)


async def test_who_hangs_is_left_after_a_while(world: World, webhook: Channel, receiver: Receiver) -> None:
    receiver.delay_s = 2
    message = world.put(channel="webhook")
    await world.work(webhook)
    assert world.log(message) == [(1, "deferred", "no answer within 1 s")]


async def test_no_code_goes_to_a_webhook(world: World, webhook: Channel, receiver: Receiver) -> None:
    """D10."""
    code = world.put_code()
    world.do("UPDATE outbox SET channel = 'webhook'")
    await world.work(webhook)
    assert receiver.got == []
    assert world.log(code) == [(1, "dead", "a code goes to a person, and not to a webhook")]


async def test_a_provider_gets_the_document_that_it_wants(world: World, receiver: Receiver, secret_file: Path) -> None:
    sms = _sms(
        receiver,
        secret_file,
        sms_body='{"messages": [{"to": "$phone", "from": "SEGS", "body": "$text", "ref": "$key"}], "test": false}',
        sms_headers='{"Authorization": "Bearer $secret"}',
    )
    code = world.put_code()
    world.do("UPDATE outbox SET channel = 'sms'")
    await world.work(sms)
    [(headers, _)] = receiver.got
    key = str(world.message(code)["message_key"])
    assert (headers["authorization"], headers["idempotency-key"]) == (f"Bearer {SECRET}", key)
    [sent] = receiver.document()["messages"]
    assert (sent["to"], sent["ref"], CODE in sent["body"]) == ("+4930123456", key, True)
    assert receiver.document()["test"] is False


async def test_no_value_breaks_out_of_its_text(world: World, receiver: Receiver, secret_file: Path) -> None:
    world.do("UPDATE user_preferences SET notify_sms = true")
    odd = '", "to": "+999", "x": "$secret ${key} \\'
    world.put("alert", channel="sms", message=odd, subject="MTR-1", started_at="2026-03-01T12:00:00+00:00")
    await world.work(_sms(receiver, secret_file))
    assert receiver.document().keys() == {"to", "text"}
    assert receiver.document()["to"] == "+4930123456"
    assert odd in receiver.document()["text"]


async def test_who_has_no_number_gets_no_sms(world: World, receiver: Receiver, secret_file: Path) -> None:
    message = world.put(user=2, channel="sms")
    await world.work(_sms(receiver, secret_file))
    assert world.log(message) == [(1, "dead", "the person has no phone number")]


async def test_push_goes_to_whom_the_provider_knows_by_number(world: World, receiver: Receiver) -> None:
    [push] = NotifySettings.model_construct(push_url=receiver.url).channels()
    world.put(user=2, channel="push")
    await world.work(push)
    assert receiver.document()["user"] == "2"
    assert receiver.document()["title"] == "Ihr Kennwort wurde geändert"
