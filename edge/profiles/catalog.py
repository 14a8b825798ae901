"""The profiles that ship with the gateway, read from their files when they are asked for."""

import tomllib
from functools import cache
from importlib import resources

from pydantic import ValidationError

from edge.errors import ConfigError, trail
from edge.profiles.modbus.schema import ModbusProfile
from edge.profiles.payload.schema import PayloadProfile

Profile = ModbusProfile | PayloadProfile
_FOLDERS = {"modbus": "meters", "mqtt": "payloads"}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Names of the known profiles of `kind`, "modbus" or "mqtt", sorted."""
    files = resources.files("edge.profiles").joinpath(_FOLDERS[kind]).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


@cache
def load(name: str) -> Profile:
    """The profile called `name`. Raises ConfigError naming the file and the row that break the schema."""
    file = f"{name}.toml"
    folder = next(folder for kind, folder in _FOLDERS.items() if name in names(kind))
    return parse(resources.files("edge.profiles").joinpath(folder, file).read_text("utf-8"), file)


def parse(text: str, file: str) -> Profile:
    """The profile in `text`; `file` names it in errors. Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: {error}"]) from error
    model = PayloadProfile if data.get("kind") == "mqtt" else ModbusProfile
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError([f"{file}: {trail(item['loc'])}: {item['msg']}" for item in error.errors()]) from error


def modbus(name: str) -> ModbusProfile:
    profile = load(name)
    assert isinstance(profile, ModbusProfile), name
    return profile


def mqtt(name: str) -> PayloadProfile:
    profile = load(name)
    assert isinstance(profile, PayloadProfile), name
    return profile
