"""What the environment says of identity. Without a word it is production, which has no default for a secret."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloud.identity.errors import SettingsError
from cloud.settings import faults

_CHECKOUT = Path(__file__).resolve().parents[2]


class Mode(StrEnum):
    """Development makes its own keys, and shows one-time codes to whoever asks for them."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class IdentitySettings(BaseSettings):
    """SEGS_ENV, SEGS_KEYS, SEGS_HOME and SEGS_ISSUER; and lifetimes in s: SEGS_ACCESS_TOKEN_S, SEGS_REFRESH_TOKEN_S,
    SEGS_OTP_S, SEGS_SET_PASSWORD_S. Get them by `load`.
    """

    model_config = SettingsConfigDict(env_prefix="SEGS_", env_ignore_empty=True, frozen=True)

    env: Mode = Mode.PRODUCTION
    keys: Path | None = None
    home: Path | None = None
    issuer: str = "segs"
    access_token_s: Annotated[int, Field(ge=60, le=3600)] = 900
    refresh_token_s: Annotated[int, Field(ge=3600, le=366 * 86_400)] = 30 * 86_400
    otp_s: Annotated[int, Field(ge=60, le=3600)] = 600
    set_password_s: Annotated[int, Field(ge=60, le=3600)] = 900

    @classmethod
    def load(cls) -> "IdentitySettings":
        """From the environment; raises SettingsError with every variable that makes no sense."""
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(faults(error)) from None

    @property
    def development(self) -> bool:
        return self.env is Mode.DEVELOPMENT

    @property
    def keys_folder(self) -> Path:
        """Where the keys are: SEGS_KEYS; in development else `keys` in the data folder. Raises SettingsError."""
        if self.keys is not None:
            return self.keys
        if not self.development:
            raise SettingsError(
                "SEGS_KEYS names no folder of keys, and there is no default for a secret: set it to a folder of this "
                "service's own, and run `segs-cloud keys create`"
            )
        if self.home is not None:
            return self.home.expanduser() / "keys"
        if (_CHECKOUT / "pyproject.toml").is_file():
            return _CHECKOUT / ".segs" / "keys"
        raise SettingsError("no folder of keys is named: set SEGS_KEYS, or SEGS_HOME for a data folder on this machine")
