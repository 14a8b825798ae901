"""Structured logs to standard error: JSON lines for machines, or columns for people."""

import contextlib
import logging
import sys

import structlog

from edge.config.models import LogConfig


class _Stderr(structlog.PrintLogger):
    """Lines to standard error. Where that is a file on a full disk, metering is worth more than the line."""

    def __init__(self, name: str = "edge") -> None:
        super().__init__(sys.stderr)
        self.name = name

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError):
            super().msg(message)

    debug = info = warning = error = critical = exception = log = msg


def configure(config: LogConfig) -> None:
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if config.format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, config.level.upper())),
        logger_factory=lambda *names: _Stderr(*names),
        cache_logger_on_first_use=False,
    )
