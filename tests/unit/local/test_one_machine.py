"""The data folder, the ports in it and the demo that owns it, after crashes and beside others."""

import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from local import demo, scrape
from local.display import Display
from local.servers import MosquittoBroker, PostgresServer, ServerError, segs_home
from local.servers.home import locked
from local.stack import Stack


class _Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"segs_test_total 3\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ready) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_services_of_this_machine_are_asked_without_the_proxy_of_the_environment(
    port: int, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that needs a proxy to fetch the servers never saw its receiver become ready."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert scrape.ready(port)
    assert scrape.totals(port) == {"segs_test_total": 3}


def test_whatever_else_answers_on_a_port_is_not_ready(free_port: Callable[[], int]) -> None:
    assert not scrape.ready(free_port())
    assert scrape.totals(free_port()) == {}


def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEGS_HOME", str(tmp_path / "file"))
    with pytest.raises(ServerError, match="set SEGS_HOME to a folder of your own"):
        segs_home()


def test_a_data_folder_that_cannot_be_written_is_named() -> None:
    """/proc takes no file from anybody, not even from root."""
    for start in (
        partial(demo.start, home=Path("/proc/self"), modbus=1, mqtt=1, history=0, display=Display()),
        PostgresServer(data_dir=Path("/proc/self/postgres")).start,
        MosquittoBroker(data_dir=Path("/proc/self/mosquitto")).start,
    ):
        with pytest.raises(ServerError, match="set SEGS_HOME to a folder of your own"):
            start()


@pytest.mark.parametrize("torn", ["", "{", "null", "[1]", '{"modbus": [1]}'])
def test_a_torn_file_of_ports_keeps_nobody_from_stopping_what_runs(tmp_path: Path, torn: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ports.json").write_text(torn)
    stack = Stack(home=tmp_path)
    assert sorted(stack.services) == ["api", "edge", "receiver", "simulator", "worker"]
    stack.stop_services()


@pytest.mark.parametrize("command", [partial(demo.run, seconds=1), demo.start], ids=["demo", "start"])
def test_a_second_demo_in_a_data_folder_is_refused_and_touches_nothing(
    tmp_path: Path, command: Callable[..., object]
) -> None:
    """It stopped the first one's gateway and receiver, and at its own end both demos' servers."""
    (tmp_path / "field").mkdir()
    with locked(tmp_path / "run" / "demo.lock"), pytest.raises(ServerError, match="a demo runs in"):
        command(home=tmp_path, modbus=1, mqtt=1, history=0, display=Display())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["demo.lock", "field", "run"]
