"""What a kind of fault is: whom it can hit, what is decided about it beforehand, and how it is done."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.torture.stack import Stack

Value = int | float | str | bool
Settings = Mapping[str, Value]


class Missed(Exception):
    """The fault could not be done; the message says why. It does not count."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`subjects` are whom it hits, one at a time; `lanes` are who else must not be hit by another fault meanwhile.

    `settle` draws everything that is left to chance, so that a schedule says it all; `inject` does it, in a thread of
    its own, and returns when everything is as before. `takes_s` is about how long that is. `needs` names what the
    machine must have: "shim" (a C compiler), "small disk" (root, to mount one).
    """

    name: str
    subjects: tuple[str, ...]
    inject: Callable[["Stack", str, Settings], None]
    settle: Callable[[random.Random], Settings] = field(default=lambda _: {})
    lanes: tuple[str, ...] = ()
    takes_s: float = 2.0
    weight: float = 1.0
    needs: tuple[str, ...] = ()
