"""What can go wrong in the simulator."""


class SimulatorError(Exception):
    """The simulator cannot do what it was asked to."""


class FleetError(SimulatorError):
    """A fleet file that cannot be used: where (file and key), what was found, what to do."""

    def __init__(self, *, where: str, found: str, todo: str) -> None:
        super().__init__(f"{where}: {found}; {todo}")
        self.where, self.found, self.todo = where, found, todo


class EndpointError(SimulatorError):
    """An address that cannot be listened on."""

    def __init__(self, *, host: str, port: int, found: str) -> None:
        super().__init__(f"{host}:{port}: {found}; choose a free port in the fleet file")
        self.host, self.port, self.found = host, port, found


class JournalError(SimulatorError):
    """The journal cannot be written. Nothing is served that it does not hold, so the simulator ends."""

    def __init__(self, *, path: str, found: str) -> None:
        super().__init__(f"{path}: {found}; make room or choose another --journal file")
        self.path, self.found = path, found
