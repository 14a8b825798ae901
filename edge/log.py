"""Structured logs to standard error: JSON lines for machines, or columns for people."""

import logging
import sys

import structlog

from edge.config import LogConfig


def configure(config: LogConfig) -> None:
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if config.format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, config.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # What pymodbus has to say of a dead device the driver says better, and less often.
    logging.getLogger("pymodbus_logging").setLevel(logging.CRITICAL)
