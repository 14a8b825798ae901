"""E-mail from the outbox to a real server: STARTTLS, login, refusals, time-outs, cuts."""

import logging
import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from email.headerregistry import Address, AddressHeader
from email.message import EmailMessage
from typing import cast

import pytest
import trustme

from cloud.notify.mail import Mail
from cloud.notify.settings import NotifySettings
from cloud.settings import SettingsError
from cloud.workers import post
from tests.integration.notify.conftest import CODE, MailServer, World


def _plain(mail: EmailMessage, kind: str = "plain") -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return cast(str, body.get_content())


async def test_a_code_arrives_and_is_gone(world: World, mail: Mail, mail_server: MailServer) -> None:
    """D15: no channel but the web page."""
    code = world.put_code()

    await world.work(mail)

    [arrived] = mail_server.accepted
    assert (mail_server.to, mail_server.logins) == (["ada@example.org"], ["PLAIN"])
    assert CODE in _plain(arrived)
    assert f"<strong>{CODE}</strong>" in _plain(arrived, "html")
    assert (arrived["Subject"], arrived["From"], arrived["To"]) == (
        "Your code",
        "SEGS <meters@example.com>",
        "Ada <ada@example.org>",
    )
    found = world.message(code)
    assert (found["sealed_secret"], found["delivered_at"], found["attempts"]) == (None, world.now, 1)
    assert arrived["Message-ID"] == f"<{found['message_key']}@example.com>"
    assert world.log(code) == [(1, "delivered", "250 Accepted")]


async def test_a_message_is_in_the_language_of_its_person(world: World, mail: Mail, mail_server: MailServer) -> None:
    """D15."""
    world.put(user=2)
    await world.work(mail)
    [arrived] = mail_server.accepted
    assert (arrived["Subject"], arrived["Content-Language"]) == ("Ihr Kennwort wurde geändert", "de")
    assert _plain(arrived).startswith("Guten Tag Bob,")


@pytest.mark.parametrize("stage", ["rcpt", "data"])
@pytest.mark.parametrize(("answer", "state"), [("451 Try again", "waiting"), ("550 No such user", "dead")])
async def test_a_refusal_for_now_is_tried_again_and_one_for_good_is_not(
    stage: str, answer: str, state: str, world: World, mail: Mail, mail_server: MailServer
) -> None:
    """C12: no dead-letter place."""
    refused, other = world.put_code(user=1), world.put(user=2)
    if stage == "rcpt":
        mail_server.rcpt_answer = lambda to: answer if to.startswith("ada") else None
    else:
        mail_server.before_answer = lambda _, mail: answer if "ada" in mail["To"] else None

    await world.work(mail)

    assert world.states() == {state: 1, "delivered": 1}
    assert world.message(other)["delivered_at"] is not None
    found = world.message(refused)
    assert found["last_error"] == answer
    assert found["sealed_secret"] is not None
    assert (found["due_at"] is None) == (state == "dead")

    mail_server.rcpt_answer, mail_server.before_answer = lambda _: None, lambda *_: None
    world.now += timedelta(seconds=6)
    await world.work(mail)
    assert (world.message(refused)["delivered_at"] is None) == (state == "dead")


async def test_what_is_wrong_before_the_server_hears_of_the_message_kills_none(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    code = world.put_code()
    mail_server.mail_answer = lambda _: "550 This sender may not"
    await world.work(mail)
    assert world.states() == {"waiting": 1}
    assert world.log(code) == [(1, "deferred", "550 This sender may not")]


async def test_a_wrong_password_kills_no_message(world: World, settings: NotifySettings) -> None:
    (world.folder / "password").write_text("wrong\n")
    [mail] = settings.channels()
    code = world.put_code()
    await world.work(mail)
    [(attempt, outcome, reply)] = world.log(code)
    assert (attempt, outcome, reply[:3]) == (1, "deferred", "535")


async def test_a_server_that_nobody_vouches_for_gets_nothing(
    world: World, settings: NotifySettings, mail_server: MailServer
) -> None:
    trustme.CA().cert_pem.write_to_path(str(world.folder / "ca.pem"))
    [mail] = settings.channels()
    code = world.put_code()
    await world.work(mail)
    assert (mail_server.accepted, mail_server.logins) == ([], [])
    [(_, outcome, reply)] = world.log(code)
    assert outcome == "deferred"
    assert "certificate" in reply.lower()


async def test_a_certificate_of_another_host_is_refused(
    world: World, settings: NotifySettings, authority: trustme.CA, free_port: Callable[[], int]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("mail.example.net").configure_cert(context)
    with MailServer(context, free_port()) as impostor:
        [mail] = settings.model_copy(update={"smtp_port": impostor.port}).channels()
        world.put_code()
        await world.work(mail)
        assert (impostor.accepted, impostor.logins) == ([], [])
    assert world.states() == {"waiting": 1}


async def test_nobody_there_is_tried_again(
    world: World, settings: NotifySettings, free_port: Callable[[], int]
) -> None:
    [mail] = settings.model_copy(update={"smtp_port": free_port()}).channels()
    code = world.put_code()
    await world.work(mail)
    [(_, outcome, _)] = world.log(code)
    assert outcome == "deferred"
    assert world.message(code)["due_at"] > world.now


async def test_a_server_that_hangs_after_data_holds_up_nobody_else(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    mail_server.hang_after = {"bob@example.org"}
    hung = world.put(user=2)
    for _ in range(20):
        world.put()
    started_s = time.monotonic()

    await world.work(mail, loops=3)

    assert time.monotonic() - started_s < 15
    assert world.states() == {"waiting": 1, "delivered": 20}
    assert world.log(hung) == [(1, "deferred", "no answer within 2 s")]


async def test_a_connection_that_is_cut_after_the_mail_was_taken_repeats_it_under_the_same_id(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    cuts = iter([True])

    def cut(server: object, _: EmailMessage) -> None:
        if next(cuts, False):
            server.transport.abort()  # type: ignore[attr-defined] # aiosmtpd's own

    mail_server.before_answer = cut
    code = world.put_code()
    await world.work(mail)
    world.now += timedelta(seconds=6)
    await world.work(mail)

    assert [(attempt, outcome) for attempt, outcome, _ in world.log(code)] == [(1, "deferred"), (2, "delivered")]
    first, second = mail_server.accepted
    assert first["Message-ID"] == second["Message-ID"]


async def test_a_code_that_is_over_is_not_sent_and_leaves_no_secret(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    late, refused = world.put_code(user=1), world.put_code(user=2)
    mail_server.rcpt_answer = lambda to: "550 No" if to.startswith("bob") else "450 Later"
    await world.work(mail)
    mail_server.rcpt_answer = lambda _: None
    world.now += timedelta(minutes=10)

    await world.work(mail)
    async with world.pool.connection() as connection:
        await post._Sweep([mail]).step(connection, world.now)

    assert mail_server.accepted == []
    assert world.states() == {"expired": 1, "dead": 1}
    assert [world.message(one)["sealed_secret"] for one in (late, refused)] == [None, None]
    assert world.log(late)[-1] == (1, "expired", "450 Later")


async def test_what_no_template_is_there_for_is_a_dead_letter_and_others_go_on(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    """C12."""
    unknown, lacking, other = world.put("no_such"), world.put("price_changed", region="north"), world.put()
    await world.work(mail)
    assert world.log(unknown) == [(1, "dead", "there is no template no_such")]
    assert world.log(lacking) == [(1, "dead", "the message has no from")]
    assert world.log(other) == [(1, "delivered", "250 Accepted")]


async def test_a_secret_that_was_sealed_for_somebody_else_is_a_dead_letter(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    code = world.put_code()
    world.do("UPDATE outbox SET sealed_secret = %s", world.keys.seal(b"271828", "code of user 2"))
    await world.work(mail)
    assert mail_server.accepted == []
    assert [(outcome, "271828" in reply) for _, outcome, reply in world.log(code)] == [("dead", False)]


async def test_no_code_is_written_anywhere(
    world: World,
    mail: Mail,
    mail_server: MailServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """D10: a server that repeats what it got does not bring it into the log."""
    caplog.set_level(logging.DEBUG)
    mail_server.before_answer = lambda _, mail: f"554 I do not like {CODE}"
    code = world.put_code()
    await world.work(mail)
    assert [outcome for _, outcome, _ in world.log(code)] == ["dead"]
    printed = capfd.readouterr()
    kept = str(world.rows("SELECT o, d FROM outbox o JOIN deliveries d USING (outbox_id)"))
    ours = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("mail."))
    assert CODE not in kept + printed.out + printed.err + ours


@pytest.mark.parametrize(
    "name",
    [
        "Ada\r\nBcc: eve@example.org",
        "Ada\nSubject: no",
        "Ada\x00\x1b[31m\u202eadA\u2028\u0085X-Evil: 1",
        '"<eve@example.org>," Ada',
        "=?utf-8?q?=0D=0ABcc:_eve@example.org?=",
        "Zoë 日本 \N{PILE OF POO}",
        "(" * 200,
        "a" * 200,
    ],
)
async def test_no_name_writes_a_header(name: str, world: World, mail: Mail, mail_server: MailServer) -> None:
    world.do("UPDATE users SET name = %s WHERE user_id = 1", name.replace("\x00", ""))
    world.put(name=name.replace("\x00", ""))
    await world.work(mail)
    [arrived] = mail_server.accepted
    assert (mail_server.to, arrived["Bcc"], arrived["X-Evil"]) == (["ada@example.org"], None, None)
    assert arrived["Subject"] == "Your password was changed"
    to: AddressHeader = arrived["To"]
    [recipient] = cast(tuple[Address, ...], to.addresses)
    assert recipient.addr_spec == "ada@example.org"


@pytest.mark.parametrize(
    "address",
    [
        "a>,<eve@example.org",
        "a\r\nRCPT TO:<eve@example.org",
        "a b@example.org",
        '"x"@example.org',
        "ada@exa_mple.org",
        "",
    ],
)
async def test_what_is_no_plain_address_is_a_dead_letter(
    address: str, world: World, mail: Mail, mail_server: MailServer
) -> None:
    odd, other = world.put(email=address), world.put(user=2)
    await world.work(mail)
    assert world.log(odd) == [(1, "dead", "there is no address that mail can be sent to")]
    assert (world.log(other)[0][1], mail_server.to) == ("delivered", ["bob@example.org"])


async def test_addresses_beyond_ascii_arrive(world: World, mail: Mail, mail_server: MailServer) -> None:
    world.put(email="zoë@bücher.example")
    await world.work(mail)
    assert mail_server.to == ["zoë@xn--bcher-kva.example"]


def test_settings_that_make_no_sense_are_told(settings: NotifySettings, world: World) -> None:
    (world.folder / "password").chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 0600"):
        settings.channels()
    for wrong, told in (
        ({"smtp_from": None}, "SEGS_SMTP_FROM"),
        ({"smtp_from": "nobody"}, "SEGS_SMTP_FROM"),
        ({"smtp_user": None}, "SEGS_SMTP_PASSWORD_FILE"),
        ({"smtp_host": None, "webhook_url": "http://example.org/x"}, "SEGS_WEBHOOK"),
        ({"smtp_host": None, "sms_url": "http://example.org/x"}, "SEGS_SMS_URL"),
        ({"smtp_host": None, "push_url": "https://example.org/x", "push_body": "{"}, "SEGS_PUSH_BODY"),
    ):
        with pytest.raises(SettingsError, match=told):
            settings.model_copy(update=wrong).channels()
