"""Which providers there are, by the environment."""

from pydantic_settings import BaseSettings, SettingsConfigDict

from cloud.payments.provider import Provider
from cloud.payments.simulated import Simulated
from cloud.settings import SettingsError

_SHORTEST = 32


class PaymentSettings(BaseSettings):
    """SEGS_PAYMENT_SIMULATED_SECRETS: secrets of the simulated provider, separated by commas. Without one it is none.

    There is no default secret: whoever knew it could pay every bill.
    """

    model_config = SettingsConfigDict(env_prefix="SEGS_", env_ignore_empty=True)

    payment_simulated_secrets: str = ""

    def providers(self) -> dict[str, Provider]:
        """By name. Raises SettingsError."""
        simulated = self.simulated()
        return {} if simulated is None else {simulated.name: simulated}

    def simulated(self) -> Simulated | None:
        """The simulated one, if there is a secret for it. Raises SettingsError."""
        secrets = [one.strip() for one in self.payment_simulated_secrets.split(",") if one.strip()]
        if any(len(one) < _SHORTEST for one in secrets):
            raise SettingsError(
                f"SEGS_PAYMENT_SIMULATED_SECRETS: a secret is too short; give {_SHORTEST} characters or more, by chance"
            )
        return Simulated([one.encode() for one in secrets]) if secrets else None
