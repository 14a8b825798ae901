"""The root of what the cloud refuses or cannot do; everything else is a bug and ends in a traceback."""

from typing import ClassVar


class CloudError(Exception):
    """The message says what was found and what to do; the leaves have fields.

    `exit_status` is a command's that ends with it: 1 for an answer, which is no; 2 where nobody has looked.
    """

    exit_status: ClassVar[int] = 1


class InputError(CloudError):
    """What was given, on the command line or in a file that it names, makes no sense."""

    exit_status = 2


class UnreachableDatabase(CloudError):
    """No connection to a database could be made. `database` is domain or telemetry."""

    exit_status = 2

    def __init__(self, database: str, found: str) -> None:
        super().__init__(
            f"no connection to the {database} database: {found.strip()}; see that the server runs, and what "
            f"SEGS_{database.upper()}_DSN says"
        )
        self.database = database


class NotInStep(CloudError):
    """The domain database has taken a change, and the telemetry database could not be told."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"it is recorded, and the telemetry database does not know it yet: {found.strip()}; do nothing: a worker "
            "tells it within seconds of its return"
        )


class UnknownGateway(CloudError):
    """Somebody asked for a gateway that is not registered."""

    def __init__(self, name: str, there: str = "segs-cloud gateway list names them") -> None:
        super().__init__(f"there is no gateway {name}; {there}")
        self.name = name


class UnknownRegion(CloudError):
    """Somebody asked for a region that was never made."""

    def __init__(self, region: str, there: str) -> None:
        super().__init__(f"there is no region {region}; {there}")
        self.region = region


class UnknownMeter(CloudError):
    """No device was ever registered as this meter."""

    def __init__(self, code: str) -> None:
        super().__init__(f"there is no meter {code}; segs-cloud meter list names them")
        self.code = code
