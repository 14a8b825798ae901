"""What the daemon carries: its memory is a promise, and what writes to meters is not part of it."""

import subprocess
import sys

import pytest


def _loaded(statement: str) -> tuple[set[str], set[str]]:
    """Packages and modules that a fresh interpreter has after `statement`."""
    say = "import sys; print(*(name for name, module in sys.modules.items() if module))"
    done = subprocess.run([sys.executable, "-c", f"{statement}\n{say}"], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    return {name.partition(".")[0] for name in modules}, modules


def test_the_daemon_loads_neither_the_tools_nor_what_only_terminals_need() -> None:
    packages, modules = _loaded("import edge.app")
    assert not packages & {"typer", "rich", "click", "pygments"}
    assert not {name for name in modules if name.startswith(("edge.tools", "edge.cli"))}


def test_the_command_line_loads_the_daemon_only_to_run_it() -> None:
    _, modules = _loaded("import edge.cli")
    assert not {"edge.app", "edge.config.models", "httpx"} & modules
    assert not {name for name in modules if name.startswith("edge.tools")}


@pytest.mark.parametrize("tool", ["decode", "read", "scan"])
def test_a_tool_loads_no_daemon(tool: str) -> None:
    _, modules = _loaded(f"import edge.tools.{tool}")
    assert "edge.app" not in modules
    assert "edge.uplink" not in modules


def test_the_terminal_library_is_there_for_who_wants_it_after_the_daemon_is_loaded() -> None:
    packages, _ = _loaded("import edge.app, rich.console")
    assert "rich" in packages


def test_a_gateway_without_meters_on_mqtt_carries_neither_the_client_nor_the_dialects() -> None:
    _, modules = _loaded("import edge.app")
    assert (
        not {"edge.drivers.mqtt.broker", "edge.drivers.mqtt.packets", "edge.profiles.payload.decode", "serial"}
        & modules
    )
