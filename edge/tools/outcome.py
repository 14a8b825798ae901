"""How a tool ends: results on standard output alone, what goes wrong or is worth a word on standard error."""

import sys
from typing import NoReturn

import msgspec
import typer

from edge.errors import EdgeError

NOTHING = 1
"""Exit status when nothing was read, decoded, found or written."""
USAGE = 2
"""Exit status of a command line that contradicts itself, or of a configuration that cannot be used."""


class ToolFault(EdgeError):
    """A tool could not do its work; the text says where, what was found and what to try."""


def fail(reason: object, status: int = NOTHING) -> NoReturn:
    note(reason)
    raise typer.Exit(status)


def note(text: object) -> None:
    typer.echo(str(text), err=True)


def show_json(document: object) -> None:
    """One JSON document, indented for people; the same for programs."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    sys.stdout.buffer.flush()
