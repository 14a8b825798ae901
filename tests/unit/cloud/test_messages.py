"""What messages say, and that nothing that strangers write becomes more than text."""

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from string import Template
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud.notify.mail import Server, mime, wire
from cloud.notify.message import Message
from cloud.notify.outcome import Outcome, Result, Undeliverable
from cloud.notify.text import clean, fill
from cloud.notify.words import GREETING, WORDS
from cloud.secret_file import read
from cloud.settings import SettingsError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER = Server(
    host="127.0.0.1",
    port=587,
    implicit_tls=False,
    sender="meters@example.com",
    sender_name="SEGS",
    user=None,
    password=None,
    timeout_s=1,
    trusted=None,
)
# What PostgreSQL takes as text.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200) | st.text(
    '=?utf-8Qqb_: \r\n,;<>()"@\\a', max_size=80
)


def _message(template: str = "alert", **changed: Any) -> Message:
    values: dict[str, Any] = {
        "outbox_id": 1,
        "message_key": UUID(int=7),
        "user_id": 1,
        "template": template,
        "payload": {"message": "Too much", "subject": "MTR-00000001", "started_at": "2026-03-01T12:00:00+00:00"},
        "sealed_secret": None,
        "attempt": 1,
        "leased_until": NOW,
        "name": "Ada",
        "email": "ada@example.org",
        "phone": None,
        "language": "en",
        "timezone": "Europe/Berlin",
        "members": [],
        "others": [],
    }
    return Message(**values | changed)


def _sent(message: Message) -> EmailMessage:
    content = wire(mime(SERVER, message, fill(message, ""), NOW))
    return cast(EmailMessage, email.message_from_bytes(content, policy=email.policy.default))


@given(name=TEXTS, said=TEXTS)
@example(name="=?utf-8?q?=0D=0ABcc:_eve@example.org?=", said="=?utf-8?q?=0D=0ABcc:_eve@example.org?=")
def test_no_text_becomes_a_header(name: str, said: str) -> None:
    payload = {"name": name, "message": said, "subject": "MTR-00000001", "started_at": said}
    mail = _sent(_message(name=name, payload=payload))
    [to] = mail["To"].addresses
    assert to.addr_spec == "ada@example.org"
    assert (mail["Bcc"], mail["From"], len(mail.keys())) == (None, "SEGS <meters@example.com>", 9)
    assert mail["Subject"].startswith("Alert at MTR-00000001:")
    assert "\n" not in mail["Subject"]


@given(said=TEXTS)
def test_no_text_becomes_markup(said: str) -> None:
    html = fill(_message(payload={"message": f"<script>{said}", "subject": said, "started_at": said}), "").html
    assert html.count("<") == fill(_message(), "").html.count("<")


@given(said=TEXTS)
def test_what_is_said_is_one_line_that_reads_one_way(said: str) -> None:
    assert clean(said).isprintable()
    assert clean(said) == clean(clean(said))


def test_one_that_lacks_a_value_keeps_none_of_a_digest_from_being_read() -> None:
    """C12: a message of many is a dead letter for none of them."""
    text = fill(_message(members=[2, 3], others=[{"message": "Too little"}, {"subject": "MTR-00000009"}]), "")
    assert text.plain.splitlines()[-3:] == [
        "- 01 Mar 2026 13:00, MTR-00000001: Too much",
        "- –, –: Too little",
        "- –, MTR-00000009: –",
    ]


def test_what_an_alert_measured_is_said_in_the_language_of_the_mail() -> None:
    measured = {"metric": "power_factor", "above": False, "phase": 0, "value": 0.7, "threshold": 0.9, "unit": ""}
    payload = {**_message().payload, "rule": "low_power_factor", "message": "Power factor: 0.7", "measured": measured}
    assert fill(_message(payload=payload), "").subject == "Alert at MTR-00000001: Power factor: 0.7"
    said = "Warnung bei MTR-00000001: Leistungsfaktor: 0,7, unter 0,9"
    assert fill(_message(payload=payload, language="de-AT"), "").subject == said


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Severity critical; alert 12, rule under_voltage."),
        ("de", "Schwere kritisch; Warnung 12, Regel under_voltage."),
    ],
)
def test_a_mail_says_how_bad_it_is_and_by_what_number_it_is_taken_on(language: str, said: str) -> None:
    found = {"severity": "critical", "alert_id": 12, "rule": "under_voltage"}
    text = fill(_message(payload={**_message().payload, **found}, language=language), "")
    assert text.plain.splitlines()[-1] == said
    assert f"<p>{said}</p>" in text.html
    assert "under_voltage" not in text.short


@pytest.mark.parametrize(
    "measured",
    [
        None,
        "much",
        {},
        {"metric": "of_ours", "above": True, "value": 1, "threshold": 2},
        {"metric": "power_w", "above": True, "value": "1", "threshold": 2},
        {"metric": "power_w", "value": 1, "threshold": 2},
        {"value": 3, "threshold": 4},
    ],
)
def test_what_has_no_words_in_the_language_is_said_as_the_database_says_it(measured: object) -> None:
    """A rule of an operator's own may be about a measure, or a group, that came later than the words."""
    payload = {**_message().payload, "rule": "of_ours", "measured": measured}
    assert fill(_message(payload=payload, language="de"), "").subject == "Warnung bei MTR-00000001: Too much"


@pytest.mark.parametrize("template", sorted(WORDS))
def test_every_template_is_there_in_every_language_and_needs_the_same(template: str) -> None:
    languages = WORDS[template]
    assert languages.keys() == GREETING.keys()

    def needs(language: str) -> list[str]:
        words = languages[language]
        texts = (words.subject, *words.paragraphs, words.item, *words.digest)
        return sorted({name for text in texts for name in Template(text).get_identifiers()})

    assert needs("en") == needs("de")


@pytest.mark.parametrize(
    ("language", "subject", "at"),
    [
        ("en", "Alert at MTR-00000001: Too much", "01 Mar 2026 13:00"),
        ("en-GB", "Alert at MTR-00000001: Too much", "01 Mar 2026 13:00"),
        ("de", "Warnung bei MTR-00000001: Too much", "01.03.2026 13:00"),
        ("fr", "Alert at MTR-00000001: Too much", "01 Mar 2026 13:00"),
        (None, "Alert at MTR-00000001: Too much", "01 Mar 2026 13:00"),
    ],
)
def test_times_are_those_of_the_person(language: str | None, subject: str, at: str) -> None:
    text = fill(_message(language=language), "")
    assert text.subject == subject
    assert at in text.plain
    assert at in text.html


@pytest.mark.parametrize(
    "value", ["9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+14:00", "2026-13-01T00:00:00+00:00", {"a": [1]}, 7]
)
def test_odd_values_are_said_as_they_are(value: object) -> None:
    assert (
        clean(value)
        in fill(_message(payload={"message": "x", "subject": "MTR-00000001", "started_at": value}), "").plain
    )


def test_a_zone_that_this_host_does_not_know_is_no_reason_to_say_nothing() -> None:
    assert "01 Mar 2026 12:00" in fill(_message(timezone="Mars/Olympus"), "").plain


def test_a_template_that_lacks_something_is_refused_without_what_it_says() -> None:
    with pytest.raises(Undeliverable, match=r"^the message has no started_at$"):
        fill(_message(payload={"message": "Too much"}), "")


def test_a_reply_is_one_short_line() -> None:
    told = Outcome(Result.DEAD, "554 no\r\n" + "271828 é\x1b[31m" * 100).told("271828")
    assert told.isascii()
    assert told.isprintable()
    assert len(told) <= 300
    assert "271828" not in told
    assert Outcome(Result.DEAD, "\r\n").told("") == "nothing"


def test_a_secret_is_the_first_line_of_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    with pytest.raises(SettingsError, match=r"SEGS_X: .*No such file"):
        read(file, "SEGS_X")
    file.touch(0o600)
    with pytest.raises(SettingsError, match="no secret"):
        read(file, "SEGS_X")
    file.write_text(" a b \nsomething else\n")
    assert read(file, "SEGS_X") == "a b"
    file.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 0600"):
        read(file, "SEGS_X")


@pytest.mark.parametrize("template", ["alert", "alert_resolved", "alert_escalated"])
@pytest.mark.parametrize(("language", "at"), [("en", "01 Mar 2026 13:00"), ("de", "01.03.2026 13:00")])
def test_an_alert_says_what_it_is_about_and_since_when_in_the_person_s_language_and_zone(
    template: str, language: str, at: str
) -> None:
    """D15: language and zone are stored and never consulted."""
    payload = {
        "message": "Voltage is low",
        "subject": "MTR-00000007",
        "started_at": "2026-03-01T12:00:00+00:00",
        "resolved_at": "2026-03-01T12:00:00+00:00",
    }
    text = fill(_message(template, payload=payload, language=language), "")

    for said in ("Voltage is low", "MTR-00000007", at):
        assert said in text.plain
        assert said in text.html
    assert text.subject.endswith("MTR-00000007: Voltage is low")
    greeting = {"en": "Hello Ada", "de": "Guten Tag Ada"}[language]
    assert text.plain.startswith(greeting)
    digest = fill(_message(template, payload=payload, language=language, others=[payload]), "")
    assert digest.plain.count("MTR-00000007") == 2
