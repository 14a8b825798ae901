"""The link: both receivers get their share, and each kind of weather does what it says."""

import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from local.servers import free_port
from tests.torture.proxy import FAIR, Proxy, Weather


class _Echo:
    """Answers each line with its own name in front."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.heard: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines:
            try:
                for line in lines:
                    self.heard.append(line)
                    client.sendall(self.name + line)
            except OSError:
                return

    def close(self) -> None:
        # On Linux a close alone does not wake up who accepts.
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@contextmanager
def _link() -> Iterator[tuple[Proxy, int, list[_Echo]]]:
    port = free_port()
    with (
        closing(_Echo(b"1")) as one,
        closing(_Echo(b"2")) as two,
        Proxy(port=port, targets=[one.port, two.port]) as link,
    ):
        yield link, port, [one, two]


@pytest.fixture
def link() -> Iterator[tuple[Proxy, int, list[_Echo]]]:
    with _link() as link:
        yield link


_Link = tuple[Proxy, int, list[_Echo]]


def _client(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def _become(proxy: Proxy, weather: Weather) -> None:
    proxy.weather = weather
    deadline_s = time.monotonic() + 5
    while proxy.weather != weather:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def _asked(client: socket.socket) -> bytes:
    client.sendall(b"x\n")
    return client.recv(100)


def test_connections_go_to_both_in_turn_and_to_the_other_when_one_is_away(link: _Link) -> None:
    _, port, (one, two) = link
    with _client(port) as first, _client(port) as second:
        assert {_asked(first), _asked(second)} == {b"1x\n", b"2x\n"}
    one.close()
    with _client(port) as first, _client(port) as second:
        assert (_asked(first), _asked(second)) == (b"2x\n", b"2x\n")
    two.close()
    with pytest.raises(OSError, match="reset"), _client(port) as client:
        client.recv(1)


def test_a_cut_resets_what_is_there_and_what_comes(link: _Link) -> None:
    proxy, port, _ = link
    with _client(port) as old:
        assert _asked(old)
        _become(proxy, Weather(refusing=True))
        with pytest.raises(OSError, match="reset"):
            old.recv(1)
    with pytest.raises(OSError, match="reset"), _client(port) as fresh:
        fresh.recv(1)
    _become(proxy, FAIR)
    with _client(port) as fresh:
        assert _asked(fresh)


def test_a_silent_link_passes_nothing_until_it_is_fair_again(link: _Link) -> None:
    proxy, port, echoes = link
    with _client(port) as client:
        assert _asked(client)
        _become(proxy, Weather(silent=True))
        client.settimeout(0.3)
        client.sendall(b"y\n")
        with pytest.raises(TimeoutError):
            client.recv(100)
        assert [echo.heard.count(b"y\n") for echo in echoes] == [0, 0]
        _become(proxy, FAIR)
        client.settimeout(5)
        assert client.recv(100).endswith(b"y\n")


def test_a_half_open_link_delivers_requests_and_drops_answers(link: _Link) -> None:
    proxy, port, echoes = link
    with _client(port) as client:
        assert _asked(client)
        _become(proxy, Weather(deaf=True))
        client.settimeout(0.3)
        client.sendall(b"y\n")
        with pytest.raises(TimeoutError):
            client.recv(100)
    assert sum(echo.heard.count(b"y\n") for echo in echoes) == 1


def test_a_slow_link_takes_its_time(link: _Link) -> None:
    proxy, port, _ = link
    with _client(port) as client:
        _become(proxy, Weather(delay_s=0.1, bytes_per_s=100))
        began_s = time.monotonic()
        client.sendall(b"x" * 29 + b"\n")
        assert client.recv(100)
        assert time.monotonic() - began_s > 2 * (0.1 + 0.3)


def test_answers_become_resets(link: _Link) -> None:
    proxy, port, echoes = link
    _become(proxy, Weather(resets=1.0))
    with _client(port) as client:
        client.sendall(b"y\n")
        with pytest.raises(OSError, match="reset"):
            client.recv(100)
    assert sum(len(echo.heard) for echo in echoes) == 1


def _tell_and_leave(server: socket.socket, counts: Iterator[int]) -> None:
    for count in counts:
        client, _ = server.accept()
        with client:
            client.sendall(bytes(count))


def test_a_link_that_ends_leaves_nothing_open_that_waited_for_its_last_bytes_to_leave() -> None:
    """Somewhere in these amounts the room of the sockets ends, and the rest waits in the link for who does not read."""
    port, amounts = free_port(), range(2_000_000, 4_000_000, 40_000)
    with ExitStack() as held, socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_tell_and_leave, args=(server, iter(amounts)), daemon=True).start()
        with Proxy(port=port, targets=[server.getsockname()[1]]):
            for _ in amounts:
                client = held.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", port))
            time.sleep(1)
        gc.collect()
