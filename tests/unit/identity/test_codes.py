"""D10: one-time codes, second factors and recovery codes; what is kept of them says nothing without the pepper."""

import base64
import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from cloud.identity import otp, totp
from cloud.identity.keys import KeyFolder, create


def test_codes_are_six_digits_and_all_alike() -> None:
    codes = [otp.generate() for _ in range(20_000)]

    assert {len(code) for code in codes} == {6}
    assert all(code.isdecimal() and code.isascii() for code in codes)
    for place in range(6):
        # 2,000 each are expected; 6 standard deviations are 255.
        assert all(1745 < count < 2255 for count in Counter(code[place] for code in codes).values())
    assert len(set(codes)) > 19_500


def test_a_code_is_good_for_one_user_and_one_purpose(folder: KeyFolder) -> None:
    keys = folder.current()
    kept = otp.digest(keys, user_id=1, purpose="verify_email", code="042917")

    assert len(kept) == 32
    assert otp.digest(keys, user_id=1, purpose="verify_email", code=" 042 917\n") == kept
    others = [(2, "verify_email", "042917"), (1, "reset_password", "042917"), (1, "verify_email", "42917")]
    others += [(1, "verify_email", "٠٤٢٩١٧"), (1, "verify_email", "\ud800"), (1, "verify_email", "")]
    assert all(otp.digest(keys, user_id=user, purpose=purpose, code=code) != kept for user, purpose, code in others)


def test_what_is_kept_of_a_code_cannot_be_tried_without_the_pepper(
    folder: KeyFolder, tmp_path: Path, now: datetime
) -> None:
    create(tmp_path / "other", now=now)
    one, other = (
        otp.digest(f.current(), user_id=1, purpose="p", code="1") for f in (folder, KeyFolder(tmp_path / "other"))
    )

    assert one != other
    assert one != hashlib.sha256(b"1\0p\x001").digest()


# RFC 6238, appendix B, of the secret 12345678901234567890; the last six of its eight digits.
SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)

    assert totp.verify(SECRET, code, now=now, after_step=None) == seconds // 30
    assert totp.verify(SECRET, f" {code[:3]} {code[3:]}", now=now, after_step=None) == seconds // 30


@pytest.mark.parametrize(("steps", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_one_step_off(steps: int, good: bool) -> None:
    now = datetime.fromtimestamp(1111111111, UTC)
    then = now + timedelta(seconds=30 * steps)

    assert (totp.verify(SECRET, "050471", now=then, after_step=None) == 1111111111 // 30) is good


def test_a_code_is_good_once() -> None:
    now = datetime.fromtimestamp(1111111111, UTC)
    step = totp.verify(SECRET, "050471", now=now, after_step=None)

    assert step is not None
    assert totp.verify(SECRET, "050471", now=now, after_step=step) is None
    assert totp.verify(SECRET, "050471", now=now + timedelta(seconds=30), after_step=step) is None
    assert totp.verify(SECRET, "050471", now=now, after_step=step + 1) is None
    assert totp.verify(SECRET, "050471", now=now, after_step=step - 1) == step


@pytest.mark.parametrize(
    "code", ["", "0", "05047", "0504711", "050472", "٠٥٠٤٧١", "\ud800", "-50471", "0x5047", "5" * 10**6]
)
def test_a_wrong_code_is_wrong(code: str) -> None:
    now = datetime.fromtimestamp(1111111111, UTC)

    assert totp.verify(SECRET, code, now=now, after_step=None) is None


def test_a_secret_has_160_bits_and_an_address_for_apps() -> None:
    secret = totp.generate_secret()
    uri = totp.uri(secret, account="anna&x=1@example.org", issuer="Stadtwerke Süd")

    assert len(base64.b32decode(secret)) == 20
    assert secret != totp.generate_secret()
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert unquote(parts.path) == "/Stadtwerke Süd:anna&x=1@example.org"
    assert parse_qs(parts.query) == {"secret": [secret], "issuer": ["Stadtwerke Süd"]}


def test_recovery_codes_are_ten_that_people_can_copy(folder: KeyFolder) -> None:
    codes = totp.generate_recovery_codes()
    keys = folder.current()

    assert len(set(codes)) == 10
    assert not set("".join(codes)) - set("0123456789ABCDEFGHJKMNPQRSTVWXYZ-")
    kept = totp.recovery_digest(keys, user_id=1, code="7KQ1M-0ZT8C")
    for copied in ("7kq1m0zt8c", " 7KQ1M 0ZT8C ", "7kqlm-ozt8c", "7KQIM-OZT8C", "7KQ1M\n0ZT8C"):
        assert totp.recovery_digest(keys, user_id=1, code=copied) == kept
    assert totp.recovery_digest(keys, user_id=2, code="7KQ1M-0ZT8C") != kept
    assert totp.recovery_digest(keys, user_id=1, code="7KQ1M-0ZT8D") != kept
    assert totp.recovery_digest(keys, user_id=1, code="\ud800") != kept
