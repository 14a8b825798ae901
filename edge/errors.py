"""What can go wrong on a gateway; everything else is a bug and ends the daemon with a traceback."""

from collections.abc import Sequence


class EdgeError(Exception):
    """The gateway could not do what was asked of it."""


class ConfigError(EdgeError):
    """A configuration that cannot be used: one line per problem, each with the trail from file to key."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def trail(loc: tuple[int | str, ...]) -> str:
    """Where in a file: `modbus[0].device[1].unit`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".") or "file"


class DataDirUnusable(EdgeError):
    """The folder of the buffer cannot be made, opened or looked into."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}; gateway.data_dir must be a folder that this user may write to")
        self.path, self.reason = path, reason


class BufferInUse(EdgeError):
    """Another daemon holds the buffer of this data folder."""

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(f"{path}: in use by another segs-edge, pid {holder}; stop it or set another data_dir")
        self.path, self.holder = path, holder


class BufferFormat(EdgeError):
    """The buffer was written by a release with another format; it may hold readings that were not sent yet."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"the buffer has format {found}, this release knows {known}; "
            "let the release that wrote it send what is left, or set another data_dir"
        )
        self.found, self.known = found, known


class BufferUnwritable(EdgeError):
    """The buffer's disk refuses writes for now: full, read-only, failing or not there.

    What was asked may be asked again; `reopen` says that the file has to be opened anew for that.
    """

    def __init__(self, reason: str, *, reopen: bool = False) -> None:
        super().__init__(f"the buffer cannot be written: {reason}")
        self.reason, self.reopen = reason, reopen


class BufferDamaged(BufferUnwritable):
    """The buffer's file is no usable buffer: it is set aside when it is opened anew."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"it is damaged: {reason}", reopen=True)


class ModbusFault(EdgeError):
    """A request that brought no registers.

    `line_lost` says whether the connection had to be dropped, `silent` whether nobody answered in time.
    """

    def __init__(
        self, reason: str, *, line_lost: bool, exception_code: int | None = None, silent: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.line_lost, self.exception_code, self.silent = reason, line_lost, exception_code, silent


class BrokerFault(EdgeError):
    """A connection to a broker that could not be had, or that ended; the message says why."""


class PayloadError(EdgeError):
    """A message that cannot be decoded into readings; the message text says what was found."""
