"""Structured logs on stderr: JSON lines for machines, colours for a terminal."""

import logging
import sys

import structlog


class _Stderr(structlog.PrintLogger):
    """Lines to standard error, of the part of the program that `name` says."""

    def __init__(self, name: str = "segs") -> None:
        super().__init__(sys.stderr)
        self.name = name


def configure() -> None:
    """Called once, by the command line."""
    terminal = sys.stderr.isatty()
    # Variables of frames hold passwords, keys and tokens: none is ever shown.
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    renderer = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if terminal
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [tracebacks]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *names: _Stderr(*names),
        cache_logger_on_first_use=True,
    )
