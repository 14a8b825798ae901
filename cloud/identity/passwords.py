"""Passwords: argon2id in a few threads, for as many as may wait, and what may be a password at all."""

import asyncio
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type

from cloud.identity.errors import TooBusy, WeakPassword
from cloud.identity.turns import Turns

SHORTEST, LONGEST = 10, 256
"""Characters of a password after normalisation."""
# NFKC makes up to 18 characters of one; nothing longer than this is even normalised.
_LONGEST_RAW = 4 * LONGEST
# A surrogate is no character, control characters get lost in forms, and what Unicode has not assigned yet may be
# normalised differently tomorrow.
_UNUSABLE = {"Cc", "Cs", "Cn"}
# The commonest of those that leaked elsewhere and are long enough.
_COMMON = frozenset(Path(__file__).with_name("common_passwords.txt").read_text("utf-8").split())
_REPEATED = re.compile(r"(.{1,4}?)\1+.{0,3}", re.DOTALL)

THREADS, QUEUE = 2, 32
"""What one process hashes at a time, and how many more may wait for it: some seconds' work."""
PATIENCE = 16
"""How many of one client wait for their turn."""

_Result = TypeVar("_Result")


def normalised(password: str) -> str:
    """The same characters for the same password, on whatever keyboard it is typed: Unicode's NFKC."""
    return unicodedata.normalize("NFKC", password)


def require_strong(password: str, *, email: str, name: str) -> None:
    """Raises WeakPassword for one that may not be set. What is asked is length, not a zoo of characters."""
    text = normalised(password[: _LONGEST_RAW + 1])
    if len(password) > _LONGEST_RAW or len(text) > LONGEST:
        raise WeakPassword("too_long", f"a password has at most {LONGEST} characters")
    if len(text) < SHORTEST:
        raise WeakPassword("too_short", f"a password has at least {SHORTEST} characters")
    if any(unicodedata.category(character) in _UNUSABLE for character in text):
        raise WeakPassword("characters", "a password has characters that one can see, and spaces")
    folded = text.casefold()
    if _is_personal(folded, email, name):
        raise WeakPassword("personal", "a password is not the e-mail address, and not the name")
    if folded in _COMMON or _REPEATED.fullmatch(folded):
        raise WeakPassword("common", "this password is among the first that anybody tries")


def _is_personal(folded: str, email: str, name: str) -> bool:
    """Whether e-mail address or name are the password, but for digits and signs around them and a few letters."""
    address, whole = normalised(email).casefold(), normalised(name).casefold()
    words = {address, address.partition("@")[0], whole, *whole.split(), *re.split(r"[\W_]+", address)}
    rest = folded
    for word in sorted((word for word in words if len(word) > 2), key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest != folded and sum(character.isalpha() for character in rest) < 4 and len(rest) < SHORTEST


@dataclass(frozen=True, slots=True)
class Verdict:
    """`outdated`: it is right, and its hash was made with other parameters, so that it is to be hashed anew."""

    right: bool
    outdated: bool = False


class Passwords:
    """Hashes and verifies. At most `threads` at a time, and `queue` more wait; who comes then gets TooBusy.

    2 passes over 46 MiB in one lane: no less than any of OWASP's configurations of argon2id, in memory or in time. The
    lanes of RFC 9106 would be threads; here they are other people's passwords. A hash needs its memory only while a
    thread is at it, so that `threads` times 46 MiB are all that logins can take. Of the same client, where `whose`
    names one, one at a time is hashed: whoever sends many waits for themselves, and others for one of theirs at most.
    """

    def __init__(
        self, *, threads: int = THREADS, queue: int = QUEUE, passes: int = 2, memory_kib: int = 47_104, lanes: int = 1
    ) -> None:
        if threads < 1 or queue < 0:
            raise ValueError(f"{threads} threads and a queue of {queue}: give 1 and 0, or more")
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes, type=Type.ID)
        # Nobody knows its password, and whoever guessed it would be told that it is wrong.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(32))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._places = threads + queue
        self._taken = 0
        self._lock = threading.Lock()
        self._turns = Turns(most=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str, *, whose: str | None = None) -> str:
        """The hash to store, `$argon2id$…`; the password has passed require_strong. Raises TooBusy."""
        async with self._turns.of(whose):
            return await self._run(partial(self._hasher.hash, normalised(password)))

    async def verify(self, password: str, stored: str | None, *, whose: str | None = None) -> Verdict:
        """Whether `stored` is the password's hash. None, of a user not there, costs the same. Raises TooBusy."""
        text = normalised(password[: _LONGEST_RAW + 1]).encode("utf-8", "surrogatepass")
        async with self._turns.of(whose):
            return await self._run(partial(self._verify, text, stored))

    def _verify(self, text: bytes, stored: str | None) -> Verdict:
        try:
            self._hasher.verify(self._nobody if stored is None else stored, text)
        except VerifyMismatchError:
            return Verdict(right=False)
        if stored is None:
            return Verdict(right=False)
        return Verdict(right=True, outdated=self._hasher.check_needs_rehash(stored))

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        with self._lock:
            if self._taken >= self._places:
                raise TooBusy(self._taken)
            self._taken += 1
        try:
            future = self._pool.submit(work)
        except RuntimeError:
            self._leave()
            raise
        # Not in a `finally`: who hangs up gives no place free before the thread is done with it.
        future.add_done_callback(lambda _: self._leave())
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        with self._lock:
            self._taken -= 1
