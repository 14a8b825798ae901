"""The folder of keys: Ed25519 keys that sign tokens, the pepper of short codes, and the key of secrets at rest.

    20261128T080800Z-5e1f0a2b.pem   a signing key; the name is its kid, and says from when on it signs
    pepper.key                      32 bytes, hexadecimal
    sealing.key                     32 bytes, hexadecimal

Every signing key in the folder verifies. The latest whose time has come signs: a new one is given to every host before
that, so that a token is never signed with a key that somebody does not know yet.
"""

import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cloud.identity.errors import KeysError, KeysExist, SealError

PEPPER, SEALING = "pepper.key", "sealing.key"
_KID = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{8}")
_TIME = "%Y%m%dT%H%M%SZ"
_SECRET = re.compile(rb"[0-9a-f]{64}\n?")
_SEAL_VERSION, _NONCE_BYTES = b"\x01", 12
_LARGEST_FILE = 4096
_SETTLES_NS = 2_000_000_000


def signs_from(kid: str) -> datetime | None:
    """From when on the key of this name signs; None for what is no name of a key."""
    match = _KID.fullmatch(kid)
    try:
        return datetime.strptime(match[1], _TIME).replace(tzinfo=UTC) if match else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Keys:
    """What the folder held when it was read. `signing` is by kid, at least one."""

    signing: Mapping[str, Ed25519PrivateKey]
    pepper: bytes
    sealing: bytes

    def signer(self, now: datetime) -> str:
        """The kid that signs at `now`; where a clock says that no key's time has come, the earliest."""
        begun = [kid for kid in self.signing if (at := signs_from(kid)) is not None and at <= now]
        return max(begun) if begun else min(self.signing)

    def derived(self, purpose: str) -> bytes:
        """32 bytes of the pepper's for one purpose and no other."""
        return HKDFExpand(hashes.SHA256(), 32, f"segs {purpose}".encode()).derive(self.pepper)

    def seal(self, plain: bytes, place: str) -> bytes:
        """AES-256-GCM under a random nonce. It opens for the same `place` only, such as 'totp of user 17'."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _SEAL_VERSION + nonce + AESGCM(self.sealing).encrypt(nonce, plain, _SEAL_VERSION + place.encode())

    def unseal(self, sealed: bytes, place: str) -> bytes:
        """What was sealed for `place`; raises SealError."""
        return unseal(self.sealing, sealed, place)


def unseal(sealing: bytes, sealed: bytes, place: str) -> bytes:
    """What was sealed with the key for `place`; raises SealError."""
    version, nonce, rest = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    if version != _SEAL_VERSION or len(nonce) != _NONCE_BYTES:
        raise SealError(f"a secret at rest, {place}, has no form that this release knows")
    try:
        return AESGCM(sealing).decrypt(nonce, rest, version + place.encode())
    except InvalidTag:
        raise SealError(f"a secret at rest, {place}, is not sealed with {SEALING}, or was changed") from None


def sealing_key(file: Path) -> bytes:
    """The key of secrets at rest alone, for who opens them and signs nothing. Raises KeysError."""
    return _secret(file)


class KeyFolder:
    """The keys of a folder, read again when a file comes or goes: a rotation needs no restart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: tuple[str, ...] = ()
        self._keys: Keys | None = None
        self._changed_ns: int | None = None

    def current(self) -> Keys:
        """Raises KeysError, also when a folder that was right becomes wrong: a key that was taken away is not used."""
        # Asked with every request, and to list a folder takes longer than to ask when it changed.
        changed_ns = _changed_ns(self.path)
        if self._keys is not None and changed_ns is not None and changed_ns == self._changed_ns:
            return self._keys
        # A folder that has just changed may change once more within the same tick of its clock.
        settled = changed_ns is not None and time.time_ns() - changed_ns > _SETTLES_NS
        self._changed_ns = None
        names = _names(self.path)
        if self._keys is None or names != self._names:
            self._keys = None
            self._keys = _read(self.path, names)
            self._names = names
        self._changed_ns = changed_ns if settled else None
        return self._keys


def open_folder(path: Path, *, development: bool, now: datetime) -> KeyFolder:
    """The folder, read and found right. In development it is made if need be. Raises KeysError."""
    if development:
        with _locked(path):
            if not _kids(_names(path)):  # Else another process was faster.
                _create_missing(path, now)
    folder = KeyFolder(path)
    folder.current()
    return folder


def create(path: Path, *, now: datetime) -> str:
    """Make what a folder without signing keys lacks; returns the kid. Raises KeysExist where there is one already."""
    with _locked(path):
        if kids := _kids(_names(path)):
            raise KeysExist(f"{path} has keys already, {kids[-1]} the latest; segs-cloud keys rotate makes another")
        return _create_missing(path, now)


def rotate(path: Path, *, signs_from: datetime) -> str:
    """Add a key that signs from then on; returns its kid. Raises KeysError."""
    _read(path, _names(path))
    with _locked(path):
        return _add_signing(path, signs_from)


def _create_missing(path: Path, now: datetime) -> str:
    names = _names(path)
    for secret in (PEPPER, SEALING):
        if secret not in names:
            _write(path / secret, secrets.token_hex(32).encode() + b"\n")
    # Last: a folder with a signing key is whole. One that lost another file must not get a new one unnoticed.
    return _add_signing(path, now)


def _add_signing(path: Path, at: datetime) -> str:
    begins = at.astimezone(UTC).strftime(_TIME)
    # The later of two of one second is the later by name, too: the other one would go on signing.
    same = [kid for kid in _kids(_names(path)) if kid.startswith(begins)]
    kid = f"{begins}-{int(same[-1][-8:], 16) + 1 if same else secrets.randbits(31):08x}"
    key = Ed25519PrivateKey.generate()
    _write(path / f"{kid}.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return kid


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all, on disk, and never over another file."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            os.link(draft, file)
        finally:
            draft.unlink()
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeysError(f"{file}: {error.strerror}; no key was made") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One maker of keys at a time; the folder is made if need be, for nobody but this user."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}; set SEGS_KEYS to a folder of this service's own") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _changed_ns(path: Path) -> int | None:
    """When a file came or went last; None where that cannot be told."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _names(path: Path) -> tuple[str, ...]:
    """Files that count, in order; drafts and what else a host puts there begin with a dot."""
    try:
        return tuple(sorted(name for name in os.listdir(path) if not name.startswith(".")))
    except FileNotFoundError:
        raise KeysError(
            f"there is no folder {path}: set SEGS_KEYS to the folder of keys, or run `segs-cloud keys create`"
        ) from None
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}; set SEGS_KEYS to a folder that this service may read") from error


def _kids(names: tuple[str, ...]) -> list[str]:
    return [name.removesuffix(".pem") for name in names if name.endswith(".pem")]


def _read(path: Path, names: tuple[str, ...]) -> Keys:
    try:
        _require_mode(path, path.stat(), 0o022, "0700")
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}; set SEGS_KEYS to a folder that this service may read") from error
    kids = _kids(names)
    if not kids:
        raise KeysError(f"{path} has no signing key: run `segs-cloud keys create`")
    return Keys(
        signing={kid: _signing_key(path / f"{kid}.pem") for kid in kids},
        pepper=_secret(path / PEPPER),
        sealing=_secret(path / SEALING),
    )


def _signing_key(file: Path) -> Ed25519PrivateKey:
    if signs_from(file.stem) is None:
        raise KeysError(f"{file} is no name of a key; `segs-cloud keys rotate` makes keys with names")
    try:
        key = load_pem_private_key(_content(file), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeysError(f"{file} holds no Ed25519 private key; restore it, or take it out of the folder")
    return key


def _secret(file: Path) -> bytes:
    content = _content(file)
    if not _SECRET.fullmatch(content):
        raise KeysError(f"{file} does not hold 64 hexadecimal digits; restore it")
    return bytes.fromhex(content.decode())


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            _require_mode(file, os.fstat(opened.fileno()), 0o077, "0600")
            return opened.read(_LARGEST_FILE)
    except FileNotFoundError:
        raise KeysError(
            f"{file} is missing, and signing keys are there: restore it. What was made with it is lost without it"
        ) from None
    except OSError as error:
        raise KeysError(f"{file}: {error.strerror}; it has to be a file that this service may read") from error


def _require_mode(path: Path, found: os.stat_result, forbidden: int, wanted: str) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if mode & forbidden:
        raise KeysError(f"{path} is open to others, mode {mode:04o}: chmod {wanted} {path}")
    if found.st_uid not in (0, os.geteuid()):
        raise KeysError(f"{path} belongs to user {found.st_uid}, who can change it: chown it to this service's user")
