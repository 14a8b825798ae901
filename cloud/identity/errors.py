"""What identity refuses. No message and no field has a secret in it: they are fit for a log."""

from cloud.errors import CloudError, InputError


class IdentityError(CloudError):
    """The root of what this package refuses."""


class SettingsError(IdentityError, InputError):
    """The environment says nothing, or nonsense; the message names the variable."""


class KeysError(IdentityError, InputError):
    """The folder of keys cannot be used; the message names the file, and what to do."""


class KeysExist(KeysError):
    """Keys that are in use are not made anew."""

    exit_status = 1


class SealError(IdentityError):
    """A secret at rest was sealed with another key, for another place, or was changed."""


class TooBusy(IdentityError):
    """More passwords wait to be hashed than may. `waiting` is how many; who asks again in a second may be served."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} passwords are being hashed or wait for it; ask again in a second")
        self.waiting = waiting


class WeakPassword(IdentityError):
    """A password that may not be set. `reason` is stable: too_short, too_long, characters, personal or common."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidToken(IdentityError):
    """A token that proves nothing. `reason` is for the log; whoever sent it need not learn it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the token is not valid: {reason}")
        self.reason = reason


class ExpiredToken(InvalidToken):
    """A token of ours whose time is over: its client may refresh it."""

    def __init__(self) -> None:
        super().__init__("expired")
