"""What the environment says of the API itself."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cloud.errors import InputError
from cloud.settings import faults

Network = IPv4Network | IPv6Network


class ApiSettingsError(InputError):
    """The environment says nonsense; the message names the variable."""


class ApiSettings(BaseSettings):
    """SEGS_TRUSTED_PROXIES: addresses and networks, with commas between them, whose word it is where a request comes
    from. None are, where nothing is said. SEGS_API_REQUESTS_PER_MINUTE: what one address, and one account, may ask of
    one process. Get it by `load`.
    """

    model_config = SettingsConfigDict(env_prefix="SEGS_", env_ignore_empty=True, frozen=True)

    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = ()
    api_requests_per_minute: Annotated[int, Field(ge=60, le=10_000_000)] = 6000

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        return tuple(ip_network(part.strip()) for part in given.split(","))

    @classmethod
    def load(cls) -> "ApiSettings":
        """From the environment; raises ApiSettingsError."""
        try:
            return cls()
        except ValidationError as error:
            raise ApiSettingsError(faults(error)) from None
