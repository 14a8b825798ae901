"""What the tables of the configuration have in common: strictness, names, times, and whom to trust."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from edge.profiles import catalog
from edge.validation import suggestion

Port = Annotated[int, Field(ge=1, le=65535)]
# What one step of a bus may wait: well below the time after which a loop counts as stuck.
Wait = Annotated[float, Field(gt=0, le=30, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
DeviceId = Annotated[str, Field(min_length=1, max_length=88, pattern=r"^[A-Za-z0-9._-]+$")]


def _possible_host(host: str) -> str:
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise ValueError("no name and no address: a part between its dots is empty or too long") from error
    return host


Host = Annotated[str, Field(min_length=1), AfterValidator(_possible_host)]


class Section(BaseModel):
    # Strict: a port of "1502" or an interval of true is a mistake to show, not to guess at.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TlsConfig(Section):
    """`ca_file` says whom to trust, the system's authorities without it. `server_name` is the name in the peer's
    certificate where that is not `host`."""

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    server_name: Host | None = None

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together; name both or neither")
        return self

    @property
    def files(self) -> dict[str, str | None]:
        return {"ca_file": self.ca_file, "certificate_file": self.certificate_file, "key_file": self.key_file}

    def under(self, folder: Path) -> "TlsConfig":
        """The same with absolute paths."""
        return self.model_copy(update={key: name and str(folder / name) for key, name in self.files.items()})


class TlsPort(Section):
    """A table whose `port`, where none is given, is another one with `tls`."""

    tls_port: ClassVar[int]
    tls: TlsConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _port_of_tls(cls, data: object) -> object:
        return {"port": cls.tls_port, **data} if isinstance(data, dict) and data.get("tls") is not None else data


def known_profile(kind: str, name: str) -> str:
    """`name`, where it is that of a profile of `kind` or may be a path of one. Raises ValueError."""
    known = catalog.known(kind)
    if name not in known and not catalog.is_path(name):
        raise ValueError(f"unknown profile{suggestion(name, known)}; known here: {', '.join(known)}")
    return name
