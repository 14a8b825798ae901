"""D10, D11: passwords cost what argon2id costs, whoever is asked about, and no crowd of them takes the machine."""

import asyncio
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters

from cloud.identity import passwords as module
from cloud.identity.errors import TooBusy, WeakPassword
from cloud.identity.passwords import Passwords, Verdict, require_strong

RIGHT = "Blitz und Donner"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """As production has them."""
    with Passwords() as passwords:
        yield passwords


@pytest.fixture
def quick() -> Iterator[Passwords]:
    with Passwords(threads=1, queue=2, passes=1, memory_kib=1024) as passwords:
        yield passwords


async def test_a_hash_is_argon2id_and_at_least_as_hard_as_owasp_asks(passwords: Passwords) -> None:
    """OWASP, Password Storage: 46 MiB and 1 pass, or 19 MiB and 2, or weaker pairs."""
    found = extract_parameters(await passwords.hash(RIGHT))

    assert (found.type.name, found.version, found.hash_len, found.salt_len) == ("ID", 19, 32, 16)
    assert found.memory_cost >= 46 * 1024
    assert found.time_cost >= 2


async def test_the_right_password_is_right_and_no_other(quick: Passwords) -> None:
    stored = await quick.hash(RIGHT)

    assert await quick.verify(RIGHT, stored) == Verdict(right=True)
    assert await quick.verify(RIGHT.lower(), stored) == Verdict(right=False)
    assert await quick.verify(RIGHT + " ", stored) == Verdict(right=False)
    assert await quick.hash(RIGHT) != stored


async def test_a_password_is_the_same_on_every_keyboard(quick: Passwords) -> None:
    """ü as one character or as u with dots; wide letters of an East Asian keyboard."""
    stored = await quick.hash("gr\u00fcn und \uff42lau")

    assert (await quick.verify("gru\u0308n und blau", stored)).right


async def test_a_hash_of_weaker_days_is_right_and_outdated(passwords: Passwords) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(RIGHT)

    assert await passwords.verify(RIGHT, old) == Verdict(right=True, outdated=True)
    assert await passwords.verify("another word", old) == Verdict(right=False)


@pytest.mark.parametrize("given", ["", "\ud800", "\0", "x" * 5_000_000, "\ufdfa" * 5000])
async def test_whatever_is_given_as_password_gets_an_answer(quick: Passwords, given: str) -> None:
    stored = await quick.hash(RIGHT)

    assert await quick.verify(given, stored) == Verdict(right=False)
    assert await quick.verify(given, None) == Verdict(right=False)


async def test_a_user_who_is_not_there_costs_the_same(passwords: Passwords) -> None:
    """D11: whoever measures time learns no address. Taken in turns, so that a busy machine slows both."""
    stored = await passwords.hash(RIGHT)
    known, unknown = [], []
    for _ in range(9):
        for times, hash_ in ((known, stored), (unknown, None)):
            began = time.perf_counter()
            assert await passwords.verify("not the one", hash_) == Verdict(right=False)
            times.append(time.perf_counter() - began)

    assert 0.5 < statistics.median(unknown) / statistics.median(known) < 2
    assert extract_parameters(passwords._nobody) == extract_parameters(stored)


async def test_more_than_may_wait_are_refused_at_once(quick: Passwords) -> None:
    stored = await quick.hash(RIGHT)
    release = _occupied(quick._pool)

    waiting = [asyncio.create_task(quick.verify(RIGHT, stored)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy) as refused:
        await quick.verify(RIGHT, stored)
    release.set()

    assert refused.value.waiting == 3
    assert [verdict.right for verdict in await asyncio.gather(*waiting)] == [True] * 3
    assert (await quick.verify(RIGHT, stored)).right


async def test_who_hangs_up_leaves_the_queue(quick: Passwords) -> None:
    stored = await quick.hash(RIGHT)
    release = _occupied(quick._pool)
    waiting = [asyncio.create_task(quick.verify(RIGHT, stored)) for _ in range(3)]
    await asyncio.sleep(0)

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    again = [asyncio.create_task(quick.verify(RIGHT, stored)) for _ in range(3)]
    await asyncio.sleep(0)
    release.set()

    assert [verdict.right for verdict in await asyncio.gather(*again)] == [True] * 3


async def test_the_event_loop_goes_on_while_passwords_are_hashed(passwords: Passwords) -> None:
    work = asyncio.create_task(passwords.hash(RIGHT))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.001)
        turns += 1

    assert turns > 3


def _occupied(pool: ThreadPoolExecutor) -> threading.Event:
    """One thread waits until the event that is returned is set."""
    release = threading.Event()
    pool.submit(release.wait, 60)
    return release


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "too_short"),
        ("ninechars", "too_short"),
        ("u\u0308" * 9, "too_short"),
        ("x y" * 86, "too_long"),
        ("\ufdfa" * 250, "too_long"),
        ("y" * 10**7, "too_long"),
        ("blitz\0und donner", "characters"),
        ("blitz\ud800und donner", "characters"),
        ("anna.maier@example.org", "personal"),
        ("ANNA.MAIER1", "personal"),
        ("Anna Maier", "personal"),
        ("annamaier2026!", "personal"),
        ("maier-anna", "personal"),
        ("\uff21nna \uff2daier", "personal"),
        ("1234567890", "common"),
        ("Password123", "common"),
        ("QWERTYUIOP", "common"),
        ("aaaaaaaaaaaa", "common"),
        ("abcabcabcabca", "common"),
    ],
)
def test_a_password_that_anybody_would_try_is_refused(password: str, reason: str) -> None:
    with pytest.raises(WeakPassword) as refused:
        require_strong(password, email="anna.maier@example.org", name="Anna Maier")

    assert refused.value.reason == reason
    assert not password or password not in str(refused.value)


@pytest.mark.parametrize(
    "password",
    [
        "Blitz und Donner",
        "kX9#mQ2$vL",
        "zehn\u00e4\u00f6\u00fc\u00dfab",
        "анна купила хлеб",
        "电表电表读数今天很高啊",
        "q7" + "rz!k" * 63 + "xy",
        "Anna likes her cat",
    ],
)
def test_a_password_that_only_its_owner_knows_is_taken(password: str) -> None:
    require_strong(password, email="anna.maier@example.org", name="Anna Maier")


def test_short_names_forbid_nothing() -> None:
    require_strong("oxidising bread", email="ox@example.org", name="Ox")


def test_every_common_password_is_one_that_would_pass_otherwise() -> None:
    listed = Path(module.__file__).with_name("common_passwords.txt").read_text("utf-8").split()

    assert listed == sorted(set(listed))
    assert [word for word in listed if len(word) < module.SHORTEST or word != module.normalised(word).casefold()] == []
