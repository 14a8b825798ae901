"""D11: an access token is believed only if it is ours, unchanged, of our kind, and of now."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.identity.errors import ExpiredToken, InvalidToken
from cloud.identity.keys import KeyFolder, create, rotate
from cloud.identity.tokens import AccessTokens, digest, generate, successor

SESSION = UUID("7c4f0f0e-54bb-4a9d-8d0f-0d0f3f4f5a6b")


@pytest.fixture
def tokens(folder: KeyFolder) -> AccessTokens:
    return AccessTokens(keys=folder, issuer="segs", lifetime_s=900)


@pytest.fixture
def token(tokens: AccessTokens, now: datetime) -> str:
    return tokens.issue(user_id=17, session_id=SESSION, role="USER", now=now)[0]


def _part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, signature = token.split(".")
    header, claims = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (header, claims))
    return json.loads(header), json.loads(claims), signature


def _signed(folder: KeyFolder, header: dict[str, Any], claims: object) -> str:
    """Signed rightly, whatever it says: what a bug, or a key in other hands, would make."""
    [(_, key)] = folder.current().signing.items()
    message = f"{_part(header)}.{_part(claims)}"
    return f"{message}.{_part(key.sign(message.encode()))}"


def test_a_token_says_who_asks(tokens: AccessTokens, folder: KeyFolder, now: datetime) -> None:
    token, access = tokens.issue(user_id=17, session_id=SESSION, role="USER", now=now)

    assert tokens.verify(token, now=now) == access
    assert (access.user_id, access.session_id, access.role) == (17, SESSION, "USER")
    assert access.expires_at - access.issued_at == timedelta(minutes=15)
    header, claims, _ = _parts(token)
    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": next(iter(folder.current().signing))}
    assert claims.keys() == {"iss", "aud", "sub", "sid", "jti", "iat", "exp", "role"}
    assert access.token_id != tokens.issue(user_id=17, session_id=SESSION, role="USER", now=now)[1].token_id


def test_a_token_holds_fifteen_minutes(tokens: AccessTokens, token: str, now: datetime) -> None:
    tokens.verify(token, now=now + timedelta(minutes=15, seconds=4))

    with pytest.raises(ExpiredToken):
        tokens.verify(token, now=now + timedelta(minutes=15, seconds=5))
    with pytest.raises(ExpiredToken):
        tokens.verify(token, now=now + timedelta(days=365))


def test_a_token_from_the_future_is_refused(tokens: AccessTokens, token: str, now: datetime) -> None:
    tokens.verify(token, now=now - timedelta(seconds=5))

    with pytest.raises(InvalidToken, match="future"):
        tokens.verify(token, now=now - timedelta(seconds=6))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_a_token_that_nobody_signed_is_refused(tokens: AccessTokens, token: str, now: datetime, algorithm: str) -> None:
    header, claims, signature = _parts(token)
    unsigned = f"{_part(header | {'alg': algorithm})}.{_part(claims)}"

    for attempt in (f"{unsigned}.", f"{unsigned}.{signature}", unsigned):
        with pytest.raises(InvalidToken):
            tokens.verify(attempt, now=now)


@pytest.mark.parametrize("form", ["raw", "pem", "pem without its last newline", "der", "text of raw"])
def test_the_public_key_is_no_shared_secret(
    tokens: AccessTokens, folder: KeyFolder, token: str, now: datetime, form: str
) -> None:
    """HS256 with what everybody may know."""
    header, claims, _ = _parts(token)
    public = folder.current().signing[header["kid"]].public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = {
        "raw": raw,
        "pem": pem,
        "pem without its last newline": pem.rstrip(),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "text of raw": base64.urlsafe_b64encode(raw),
    }[form]
    message = f"{_part(header | {'alg': 'HS256'})}.{_part(claims)}"

    with pytest.raises(InvalidToken):
        tokens.verify(f"{message}.{_part(hmac.digest(secret, message.encode(), hashlib.sha256))}", now=now)


def test_a_key_that_the_token_brings_along_counts_for_nothing(tokens: AccessTokens, token: str, now: datetime) -> None:
    header, claims, _ = _parts(token)
    own = Ed25519PrivateKey.generate()
    x = _part(own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": header["kid"]}

    for extra in ({}, {"jwk": jwk}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/x"}):
        with pytest.raises(InvalidToken):
            tokens.verify(jwt.encode(claims, own, "EdDSA", headers=header | extra), now=now)


@pytest.mark.parametrize(
    "kid", ["", "../pepper", "/etc/passwd", "' OR 1=1", None, 7, ["a"], "20200101T000000Z-00000000"]
)
def test_another_kid_is_refused(
    tokens: AccessTokens, folder: KeyFolder, token: str, now: datetime, kid: object
) -> None:
    header, claims, _ = _parts(token)

    with pytest.raises(InvalidToken):
        tokens.verify(_signed(folder, header | {"kid": kid}, claims), now=now)
    del header["kid"]
    with pytest.raises(InvalidToken):
        tokens.verify(_signed(folder, header, claims), now=now)


def test_a_kid_does_not_borrow_another_keys_signature(
    tokens: AccessTokens, folder: KeyFolder, token: str, now: datetime
) -> None:
    other = rotate(folder.path, signs_from=now + timedelta(days=1))
    header, claims, signature = _parts(token)

    with pytest.raises(InvalidToken):
        tokens.verify(f"{_part(header | {'kid': other})}.{_part(claims)}.{signature}", now=now)


@pytest.mark.parametrize("kind", ["JWT", "id+jwt", None, ""])
def test_what_the_same_keys_sign_for_another_use_is_no_access_token(
    tokens: AccessTokens, folder: KeyFolder, token: str, now: datetime, kind: str | None
) -> None:
    header, claims, _ = _parts(token)

    with pytest.raises(InvalidToken):
        tokens.verify(_signed(folder, header | {"typ": kind}, claims), now=now)


def test_an_extension_that_is_critical_and_unknown_is_refused(
    tokens: AccessTokens, folder: KeyFolder, token: str, now: datetime
) -> None:
    header, claims, _ = _parts(token)

    with pytest.raises(InvalidToken):
        tokens.verify(_signed(folder, header | {"crit": ["b64"], "b64": False}, claims), now=now)


WRONG: dict[str, list[object]] = {
    "iss": ["other", "", None, ["segs"]],
    "aud": ["other", "", None, ["segs-api", "other"], ["segs-api"]],
    "sub": ["0", "-1", "17.0", "1_7", "٣", "abc", "", 17, None, str(2**31)],
    "sid": ["", "no uuid", 5, None],
    "jti": ["", "no uuid", 5, None],
    "iat": ["1796027280", 1.5, True, None, -(2**70), 2**70],
    "exp": ["1796027280", 1e300, True, None, 0, 2**70],
    "role": [7, ["ADMIN"]],
}


@pytest.mark.parametrize(("claim", "value"), [(claim, value) for claim, values in WRONG.items() for value in values])
def test_a_claim_that_is_not_ours_is_refused(
    tokens: AccessTokens, folder: KeyFolder, token: str, now: datetime, claim: str, value: object
) -> None:
    header, claims, _ = _parts(token)

    with pytest.raises(InvalidToken):
        tokens.verify(_signed(folder, header, claims | {claim: value}), now=now)


@pytest.mark.parametrize("claim", WRONG)
def test_no_claim_may_be_missing(
    tokens: AccessTokens, folder: KeyFolder, token: str, now: datetime, claim: str
) -> None:
    header, claims, _ = _parts(token)
    del claims[claim]

    with pytest.raises(InvalidToken):
        tokens.verify(_signed(folder, header, claims), now=now)


@pytest.mark.parametrize("claims", [[], "text", 5, None, b"", b"\xff", b"{", b'{"iss":"segs"', b"[" * 1000])
def test_claims_that_are_no_object_are_refused(
    tokens: AccessTokens, folder: KeyFolder, token: str, now: datetime, claims: object
) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(_signed(folder, _parts(token)[0], claims), now=now)


def test_every_truncated_token_is_refused(tokens: AccessTokens, token: str, now: datetime) -> None:
    for length in range(len(token)):
        with pytest.raises(InvalidToken):
            tokens.verify(token[:length], now=now)


def test_a_changed_claim_breaks_the_signature(tokens: AccessTokens, token: str, now: datetime) -> None:
    header, claims, signature = _parts(token)

    for change in ({"sub": "18"}, {"role": "ADMIN"}, {"exp": claims["exp"] + 1}, {"sid": str(uuid4())}):
        with pytest.raises(InvalidToken):
            tokens.verify(f"{_part(header)}.{_part(claims | change)}.{signature}", now=now)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(text=st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_gets_an_answer(tokens: AccessTokens, now: datetime, text: str) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(text, now=now)


@pytest.mark.parametrize(
    "make", [lambda token: token + "A" * 10**7, lambda token: token + "é", lambda token: "." * 2000]
)
def test_long_and_strange_texts_are_refused(
    tokens: AccessTokens, token: str, now: datetime, make: Callable[[str], str]
) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(make(token), now=now)


def test_a_refusal_does_not_repeat_the_token(tokens: AccessTokens, token: str, now: datetime) -> None:
    with pytest.raises(InvalidToken) as refused:
        tokens.verify(token[:-9], now=now)

    assert not any(part in str(refused.value) for part in token[:-9].split("."))


def test_a_rotation_has_no_gap(tokens: AccessTokens, folder: KeyFolder, now: datetime) -> None:
    """Two hosts; the second gets the new file nine minutes after the first."""
    late = AccessTokens(keys=_copy(folder), issuer="segs", lifetime_s=900)
    new = rotate(folder.path, signs_from=now + timedelta(minutes=10))
    for minute in range(30):
        at = now + timedelta(minutes=minute)
        if minute == 9:
            _copy_file(folder, late, new)
        issued = [one.issue(user_id=1, session_id=SESSION, role="USER", now=at)[0] for one in (tokens, late)]
        for token in issued:
            for one in (tokens, late):
                assert one.verify(token, now=at + timedelta(seconds=30)).user_id == 1
            assert (_parts(token)[0]["kid"] == new) == (minute >= 10)


def _copy(folder: KeyFolder) -> KeyFolder:
    other = folder.path.with_name("late")
    other.mkdir(mode=0o700)
    for file in folder.path.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
        (other / file.name).chmod(0o600)
    return KeyFolder(other)


def _copy_file(folder: KeyFolder, late: AccessTokens, kid: str) -> None:
    draft = late._keys.path / ".draft"
    draft.write_bytes((folder.path / f"{kid}.pem").read_bytes())
    draft.chmod(0o600)
    draft.rename(late._keys.path / f"{kid}.pem")


def test_a_deleted_key_takes_its_tokens_with_it(
    tokens: AccessTokens, folder: KeyFolder, token: str, now: datetime
) -> None:
    rotate(folder.path, signs_from=now)
    (folder.path / f"{_parts(token)[0]['kid']}.pem").unlink()

    with pytest.raises(InvalidToken, match="not ours"):
        tokens.verify(token, now=now)


def test_another_installation_is_not_believed(token: str, tmp_path: Path, now: datetime) -> None:
    create(tmp_path / "other", now=now)
    elsewhere = AccessTokens(keys=KeyFolder(tmp_path / "other"), issuer="segs", lifetime_s=900)

    with pytest.raises(InvalidToken):
        elsewhere.verify(token, now=now)


def test_opaque_tokens_have_256_bits_and_are_kept_as_hashes() -> None:
    tokens = {generate() for _ in range(1000)}

    assert len(tokens) == 1000
    assert {len(base64.urlsafe_b64decode(token + "=")) for token in tokens} == {32}
    token = tokens.pop()
    assert digest(token) == hashlib.sha256(token.encode()).digest()
    assert len(digest("\ud800 é")) == 32


def test_a_lost_answer_is_given_again_and_nobody_else_can_tell_it(
    folder: KeyFolder, tmp_path: Path, now: datetime
) -> None:
    keys, token = folder.current(), generate()
    create(tmp_path / "other", now=now)

    assert successor(keys, token) == successor(KeyFolder(folder.path).current(), token)
    chain = [token]
    for _ in range(100):
        chain.append(successor(keys, chain[-1]))
    assert len(set(chain)) == 101
    assert {len(one) for one in chain} == {len(token)}
    assert successor(KeyFolder(tmp_path / "other").current(), token) != chain[1]
    assert successor(replace(keys, sealing=b"\0" * 32), token) == chain[1]
