"""What a provider says is believed only if it was the provider, and now."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cloud.payments.provider import EventError
from cloud.payments.settings import PaymentSettings
from cloud.payments.signature import SignatureError, sign, verify
from cloud.payments.simulated import Simulated
from cloud.settings import SettingsError

NOW = datetime(2026, 4, 3, 12, tzinfo=UTC)
OLD, NEW = b"o" * 32, b"n" * 32
BODY = b'{"amount":"1.00"}'


def test_a_signature_holds_for_its_body_and_its_time() -> None:
    header = sign(NEW, BODY, NOW)

    assert verify([NEW], BODY, header, NOW + timedelta(minutes=5)) == NOW
    # By openssl dgst -sha256 -hmac nnn…, of 1775217600.{"amount":"1.00"}
    assert header == "t=1775217600,v1=8ce1905f28a2cea7d7e99cf3a6f1fbdbc7bfc13211c2fb1da2406867fc695781"


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (BODY.replace(b"1", b"9"), sign(NEW, BODY, NOW)),
        (BODY, sign(OLD, BODY, NOW)),
        (BODY, sign(NEW, BODY, NOW).replace("t=1775217600", "t=1775217601")),
        (BODY, sign(NEW, BODY, NOW - timedelta(minutes=5, seconds=1))),
        (BODY, sign(NEW, BODY, NOW + timedelta(minutes=5, seconds=1))),
        (BODY, "t=1775217600,v1="),
        (BODY, "t=1775217600"),
        (BODY, ""),
        (BODY, None),
    ],
)
def test_anything_else_does_not(body: bytes, header: str | None) -> None:
    """D1: another body, another secret, another time, a copy of long ago, none at all."""
    with pytest.raises(SignatureError):
        verify([NEW], body, header, NOW)


def test_a_secret_is_changed_without_a_message_lost() -> None:
    for secret in (OLD, NEW):
        assert verify([NEW, OLD], BODY, sign(secret, BODY, NOW), NOW) == NOW
    both = sign(OLD, BODY, NOW) + "," + sign(NEW, BODY, NOW).partition(",")[2]
    assert verify([NEW], BODY, both, NOW) == NOW


def test_money_is_read_as_it_is_written() -> None:
    """D2."""
    simulated = Simulated([NEW])
    body, signature = simulated.tell(
        event_id="e1",
        payment="p1",
        invoice="INV-0000000001",
        amount=Decimal("0.10"),
        currency="EUR",
        status="succeeded",
        at=NOW,
    )

    found = simulated.read(body, signature, NOW)

    assert (found.amount, str(found.amount), found.reference, found.status) == (
        Decimal("0.10"),
        "0.10",
        "p1",
        "succeeded",
    )


@pytest.mark.parametrize("said", [b"", b"[]", b'{"id":"e"}', b"\xff", b'{"id":"e1","amount":0.1}'])
def test_a_message_that_makes_no_sense_is_refused(said: bytes) -> None:
    with pytest.raises(EventError):
        Simulated([NEW]).read(said, sign(NEW, said, NOW), NOW)


def test_there_is_no_default_secret_and_none_that_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """D10."""
    monkeypatch.delenv("SEGS_PAYMENT_SIMULATED_SECRETS", raising=False)
    assert PaymentSettings().providers() == {}

    monkeypatch.setenv("SEGS_PAYMENT_SIMULATED_SECRETS", "secret")
    with pytest.raises(SettingsError, match="32 characters"):
        PaymentSettings().providers()
