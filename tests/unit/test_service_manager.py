"""What gateway and cloud tell the service manager: two packages that share no code, held to the same behaviour."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloud.systemd
import edge.systemd

Notifier = type[cloud.systemd.Notifier] | type[edge.systemd.Notifier]
pytestmark = pytest.mark.parametrize(
    "notifier_type", [cloud.systemd.Notifier, edge.systemd.Notifier], ids=["cloud", "edge"]
)


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@segs-notify-{os.getpid()}"


@pytest.fixture
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if address.startswith("@") else address)
        manager.settimeout(5)
        yield manager


def test_the_service_manager_hears_all_there_is_to_say(
    notifier_type: Notifier, manager: socket.socket, address: str
) -> None:
    notifier = notifier_type(environment={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
    notifier.ready()
    notifier.status("2 meters")
    notifier.alive()
    notifier.stopping()
    said = [manager.recv(100) for _ in range(4)]
    assert said == [b"READY=1", b"STATUS=2 meters", b"WATCHDOG=1", b"STOPPING=1"]
    assert notifier.watchdog_s == 30.0


def test_without_a_service_manager_nothing_is_sent_and_nothing_fails(notifier_type: Notifier) -> None:
    notifier = notifier_type(environment={})
    notifier.ready()
    notifier.stopping()
    assert notifier.watchdog_s is None


@pytest.mark.parametrize("usec", ["", "0", "-1", "soon"])
def test_a_watchdog_that_is_off_is_not_fed_on_time(notifier_type: Notifier, usec: str) -> None:
    assert notifier_type(environment={"WATCHDOG_USEC": usec}).watchdog_s is None


def test_a_watchdog_of_another_process_is_not_ours(notifier_type: Notifier) -> None:
    others, ours = {"WATCHDOG_PID": "1"}, {"WATCHDOG_PID": str(os.getpid())}
    assert notifier_type(environment={"WATCHDOG_USEC": "30000000"} | others).watchdog_s is None
    assert notifier_type(environment={"WATCHDOG_USEC": "30000000"} | ours).watchdog_s == 30.0


def test_a_service_manager_that_is_gone_is_no_reason_to_stop(notifier_type: Notifier, tmp_path: Path) -> None:
    notifier_type(environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()


@pytest.mark.usefixtures("manager")
def test_a_service_manager_that_does_not_read_holds_up_nothing(notifier_type: Notifier, address: str) -> None:
    """E11: its queue takes some ten datagrams, and the loop that polls is the one that sends."""
    notifier = notifier_type(environment={"NOTIFY_SOCKET": address})
    telling = threading.Thread(target=lambda: [notifier.status("1 meters") for _ in range(1000)], daemon=True)
    telling.start()
    telling.join(10)
    assert not telling.is_alive()
