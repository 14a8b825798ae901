"""The control socket: a Unix socket that takes one JSON object a line and answers each with one.

`{"meter": NAME, "fault": {"kind": …}}` injects, `{"meter": NAME, "clear": true}` ends all faults of the meter.
NAME may be a pattern with `*`, `?` and `[…]`, for all meters whose names match: to all of them it happens, or to none.
The answer is `{"ok": true}` or `{"error": {"found": "…", "todo": "…"}}`.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import ValidationError

from firmware_sim.errors import ControlError
from firmware_sim.faults.faults import Faults
from firmware_sim.faults.kinds import KINDS
from firmware_sim.faults.spec import FaultSpec

_TIMEOUT_S = 5.0
_NAMED = 10


class Target:
    """What faults of one meter can be injected into; `refuses` says why a fault cannot be, or "" if it can."""

    def __init__(self, *, meter: Faults, endpoint: Faults | None, refuses: Callable[[FaultSpec], str]) -> None:
        self._meter, self._endpoint, self.refuses = meter, endpoint, refuses

    def taking(self, spec: FaultSpec) -> Faults:
        """Those that `spec` is added to: the meter's, or those that it shares with all behind its endpoint."""
        to = self._endpoint if KINDS[spec.kind].scope == "endpoint" else self._meter
        assert to is not None
        return to

    def clear(self) -> None:
        for faults in (self._meter, self._endpoint):
            if faults is not None:
                faults.clear()


class Control:
    """Listens on `path` while it is entered. Raises ControlError when it cannot."""

    def __init__(self, *, path: Path, targets: Mapping[str, Target]) -> None:
        self._path, self._targets = path, targets
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Control":
        try:
            if self._path.is_socket():
                if _listening(self._path):
                    raise ControlError(
                        where=str(self._path),
                        found="another simulator listens there",
                        todo="stop it, or choose another --control path",
                    )
                # Left behind by a simulator that was killed.
                self._path.unlink()
            self._server = await asyncio.start_unix_server(self._serve, self._path)
            # Whatever the umask is: who may connect may break every meter.
            self._path.chmod(0o600)
        except OSError as error:
            found = error.strerror or str(error)
            raise ControlError(where=str(self._path), found=found, todo="choose another --control path") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                refused = self._obey(line)
                writer.write(json.dumps({"error": refused} if refused else {"ok": True}).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            # The client left, or its line was longer than any command.
            pass
        finally:
            writer.close()

    def _obey(self, line: bytes) -> dict[str, str] | None:
        """Does it, or says what was found instead of a command, and what to do."""
        try:
            told = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {"found": f"not JSON: {error}", "todo": "send one JSON object a line"}
        name = told.get("meter") if isinstance(told, dict) else None
        addressed = self._addressed(name) if isinstance(name, str) else {}
        if not addressed:
            return {"found": "no such meter", "todo": f"name one of {self._nearest(str(name))}"}
        if told.get("clear") is True:
            for target in addressed.values():
                target.clear()
            return None
        try:
            spec = FaultSpec.model_validate(told.get("fault"))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["type"] == "value_error":
                return _apart(first["msg"].removeprefix("Value error, "))
            where = ".".join(str(part) for part in first["loc"]) or "fault"
            todo = f"{first['msg'][0].lower()}{first['msg'][1:]}"
            return {"found": f"{where} is {first['input']!r}", "todo": todo}
        for meter, target in addressed.items():
            if reason := target.refuses(spec):
                # Which one is news only where several were asked for.
                return _apart(reason if meter == name else f"{meter}: {reason}")
        # Meters behind one endpoint share the faults of it.
        for faults in dict.fromkeys(target.taking(spec) for target in addressed.values()):
            faults.add(spec)
        return None

    def _addressed(self, name: str) -> dict[str, Target]:
        """The meter called `name`, or those that match it."""
        # No name has a character of patterns in it.
        return {meter: target for meter, target in self._targets.items() if fnmatchcase(meter, name)}

    def _nearest(self, name: str) -> str:
        """Some meters that there are, the nearest to `name` first."""
        shown = get_close_matches(name[:100], self._targets, n=_NAMED, cutoff=0)
        more = len(self._targets) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


def _apart(reason: str) -> dict[str, str]:
    """Reasons of ours are written "what was found: what to do"."""
    found, _, todo = reason.rpartition(": ")
    return {"found": found, "todo": todo}


def _listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_TIMEOUT_S)
        return line.connect_ex(str(path)) == 0


def tell(path: Path, command: Mapping[str, object]) -> None:
    """Sends `command` to the simulator that listens on `path`. Raises ControlError when it is not there or refuses."""
    todo = "start the simulator with --control and name that path"
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_TIMEOUT_S)
            line.connect(str(path))
            line.sendall(json.dumps(command).encode() + b"\n")
            with line.makefile() as answers:
                answer = answers.readline()
    except OSError as error:
        raise ControlError(where=str(path), found=error.strerror or str(error), todo=todo) from error
    try:
        refused = json.loads(answer).get("error")
        if refused:
            raise ControlError(where=str(path), found=refused["found"], todo=refused["todo"])
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise ControlError(where=str(path), found=f"answered {answer!r}", todo=todo) from error
