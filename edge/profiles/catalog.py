"""The profiles that ship with the gateway, and an operator's own, read from their files when they are asked for."""

import tomllib
from functools import cache
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from edge.errors import ConfigError
from edge.profiles.modbus.schema import ModbusProfile
from edge.profiles.payload.schema import PayloadProfile
from edge.validation import describe

Profile = ModbusProfile | PayloadProfile
SUNSPEC = "sunspec"
"""What stands for the profile of meters that say themselves where their values are."""
_FOLDERS = {"modbus": "meters", "mqtt": "payloads"}
_MODELS: dict[str, type[Profile]] = {"modbus": ModbusProfile, "mqtt": PayloadProfile}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Names of the known profiles of `kind`, "modbus" or "mqtt", sorted."""
    files = resources.files("edge.profiles").joinpath(_FOLDERS[kind]).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def known(kind: str) -> tuple[str, ...]:
    """What may be named as a profile of `kind`: `names`, and where there is discovery, that."""
    return (*names(kind), SUNSPEC) if kind == "modbus" else names(kind)


@cache
def modbus(name: str) -> ModbusProfile:
    """The profile of a Modbus meter: a known name, or with a slash in it the path of a file.

    Raises ConfigError naming the file and the row that break the schema.
    """
    profile = _load("modbus", name)
    assert isinstance(profile, ModbusProfile), name
    return profile


@cache
def mqtt(name: str) -> PayloadProfile:
    """The profile of a device that publishes; as `modbus`."""
    profile = _load("mqtt", name)
    assert isinstance(profile, PayloadProfile), name
    return profile


def is_path(name: str) -> bool:
    """Whether `name` is the path of a profile's file rather than the name of a profile."""
    return "/" in name


def parse(text: str, file: str, kind: str | None = None) -> Profile:
    """The profile in `text`; `file` names it in errors. Raises ConfigError, also when it is not of `kind`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: not TOML: {error}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{file}: not TOML: brackets in brackets without end"]) from error
    found = data.get("kind")
    wanted = (kind,) if kind else tuple(_MODELS)
    if not isinstance(found, str) or found not in wanted:
        given = "missing" if found is None else repr(found)
        raise ConfigError([f"{file}: kind: {given}; it must be {' or '.join(map(repr, wanted))} here"])
    try:
        return ModbusProfile.from_toml(data) if found == "modbus" else PayloadProfile.model_validate(data)
    except ValidationError as error:
        raise ConfigError([f"{file}: {line}" for line in describe(error, _MODELS[found], data)]) from error


def _load(kind: str, name: str) -> Profile:
    if not is_path(name):
        file = f"{name}.toml"
        text = resources.files("edge.profiles").joinpath(_FOLDERS[kind], file).read_text("utf-8")
        return parse(text, file, kind)
    try:
        return parse(Path(name).read_text("utf-8"), name, kind)
    except OSError as error:
        raise ConfigError([f"{name}: {error.strerror}; name a readable file"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{name}: byte {error.start}: not UTF-8; save the file as UTF-8"]) from error
