"""What the environment says of the API itself."""

from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloud.errors import InputError


class ApiSettings(BaseSettings):
    """SEGS_API_REQUESTS_PER_MINUTE: what one address, and one account, may ask of one process. Get it by `load`."""

    model_config = SettingsConfigDict(env_prefix="SEGS_", env_ignore_empty=True, frozen=True)

    api_requests_per_minute: Annotated[int, Field(ge=60, le=10_000_000)] = 6000

    @classmethod
    def load(cls) -> "ApiSettings":
        """From the environment; raises InputError."""
        try:
            return cls()
        except ValidationError as error:
            faults = [f"SEGS_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()]
            raise InputError("; ".join(faults)) from None
