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
    """One line or several on standard error; nothing in them moves a cursor."""
    typer.echo("\n".join(map(escaped, str(text).split("\n"))), err=True)


def escaped(text: str) -> str:
    """`text` with what is no printable character escaped: nothing in it moves a cursor or begins a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def show_json(document: object, *, one_line: bool = False) -> None:
    """A JSON document; in lines for people, or with `one_line` as one of several."""
    text = msgspec.json.encode(document)
    sys.stdout.buffer.write((text if one_line else msgspec.json.format(text, indent=2)) + b"\n")
    sys.stdout.buffer.flush()
