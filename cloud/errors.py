"""The root of what the cloud refuses or cannot do; everything else is a bug and ends in a traceback."""


class CloudError(Exception):
    """The message says what was found and what to do; the leaves have fields."""


class UnknownGateway(CloudError):
    """Somebody asked for a gateway that is not registered."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no gateway {name}; segs-cloud gateway list names them")
        self.name = name


class UnknownMeter(CloudError):
    """No device was ever registered as this meter."""

    def __init__(self, code: str) -> None:
        super().__init__(f"there is no meter {code}; segs-cloud gateway device add registers one")
        self.code = code
