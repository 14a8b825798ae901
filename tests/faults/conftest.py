"""The gateway runs on uvloop where there is one, else on asyncio's own event loop; drivers have to bear both."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

_Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_event_loops: run on asyncio's event loop and on uvloop")


def pytest_asyncio_loop_factories(item: pytest.Item) -> _Loops:
    both: _Loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return both if item.get_closest_marker("both_event_loops") else {"asyncio": both["asyncio"]}
