"""Peers nobody here wrote: what cannot be had on this machine is skipped with its reason."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from peers import debian, libmodbus
from peers.errors import PeerUnavailable
from tests.integration.peers.cable import cable


@pytest.fixture(scope="session")
def libmodbus_programs() -> None:
    try:
        libmodbus.program("server")
        libmodbus.program("client")
    except PeerUnavailable as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def mbpoll() -> str:
    try:
        return str(debian.fetched().bin_dir / "mbpoll")
    except PeerUnavailable as missing:
        pytest.skip(str(missing))


@pytest.fixture
def joined() -> Iterator[tuple[Path, Path]]:
    """Both ends of a serial line."""
    with cable() as ends:
        yield ends
