"""What can go wrong in the simulator."""


class SimulatorError(Exception):
    """The simulator cannot do what it was asked to."""


class FleetError(SimulatorError):
    """A fleet file that cannot be used: where (file and key), what was found, what to do."""

    def __init__(self, *, where: str, found: str, todo: str) -> None:
        super().__init__(f"{where}: {found}; {todo}")
        self.where, self.found, self.todo = where, found, todo


class EndpointError(SimulatorError):
    """A port that cannot be listened on, or a path that cannot be made."""

    def __init__(self, *, place: str, found: str, todo: str = "") -> None:
        todo = todo or ("choose another path" if "/" in place else "choose a free port") + " in the fleet file"
        super().__init__(f"{place}: {found}; {todo}")
        self.place, self.found = place, found


class ControlError(SimulatorError):
    """A simulator that runs cannot be told: where, what was found, what to do."""

    def __init__(self, *, where: str, found: str, todo: str) -> None:
        super().__init__(f"{where}: {found}; {todo}")
        self.where, self.found, self.todo = where, found, todo


class RecordingError(SimulatorError):
    """A recording that cannot be played: which file and line, what was found, what to do."""

    def __init__(self, *, where: str, found: str, todo: str) -> None:
        super().__init__(f"{where}: {found}; {todo}")
        self.where, self.found, self.todo = where, found, todo


class JournalError(SimulatorError):
    """The journal cannot be written. Nothing is served that it does not hold, so the simulator ends."""

    def __init__(self, *, path: str, found: str) -> None:
        super().__init__(f"{path}: {found}; make room or choose another --journal file")
        self.path, self.found = path, found


class MissingLibrary(SimulatorError):
    """A library that only some fleets need is not installed."""

    def __init__(self, *, name: str, needed_by: str) -> None:
        super().__init__(f"{needed_by} need {name}, which is not installed; pip install 'segs[sim]'")
        self.name = name
