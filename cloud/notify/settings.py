"""Which ways messages can go, by the environment. What nothing is said of does not exist, and its messages wait."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloud.identity.keys import SEALING, sealing_key
from cloud.identity.settings import IdentitySettings
from cloud.notify.channel import Channel
from cloud.notify.mail import Mail, Server, address
from cloud.notify.outcome import Undeliverable
from cloud.notify.provider import Provider
from cloud.notify.webhook import Webhook
from cloud.secret_file import read
from cloud.settings import SettingsError, faults

_SHORTEST = 32


class Security(StrEnum):
    """STARTTLS is required; TLS is from the first byte on. There is no third."""

    STARTTLS = "starttls"
    TLS = "tls"


class NotifySettings(BaseSettings):
    """Mail: SEGS_SMTP_HOST, SEGS_SMTP_PORT, SEGS_SMTP_SECURITY, SEGS_SMTP_FROM, SEGS_SMTP_FROM_NAME, SEGS_SMTP_USER,
    SEGS_SMTP_PASSWORD_FILE, SEGS_SMTP_CA_FILE, SEGS_SMTP_TIMEOUT_S. Providers: SEGS_SMS_URL, SEGS_SMS_METHOD,
    SEGS_SMS_BODY, SEGS_SMS_HEADERS, SEGS_SMS_SECRET_FILE; SEGS_PUSH_URL, SEGS_PUSH_METHOD, SEGS_PUSH_BODY,
    SEGS_PUSH_HEADERS, SEGS_PUSH_SECRET_FILE. SEGS_WEBHOOK_URL, SEGS_WEBHOOK_SECRET_FILE. SEGS_HTTP_TIMEOUT_S,
    SEGS_NOTIFY_PER_HOUR, SEGS_SEALING_KEY. Get them by `load`.
    """

    model_config = SettingsConfigDict(env_prefix="SEGS_", env_ignore_empty=True, frozen=True)

    smtp_host: str | None = None
    smtp_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    smtp_security: Security = Security.STARTTLS
    smtp_from: str | None = None
    smtp_from_name: str = "SEGS"
    smtp_user: str | None = None
    smtp_password_file: Path | None = None
    smtp_ca_file: Path | None = None
    smtp_timeout_s: Annotated[float, Field(ge=1, le=90)] = 60
    sms_url: str | None = None
    sms_method: str = "POST"
    sms_body: str = '{"to": "$phone", "text": "$text"}'
    sms_headers: str = "{}"
    sms_secret_file: Path | None = None
    push_url: str | None = None
    push_method: str = "POST"
    push_body: str = '{"user": "$user_id", "title": "$subject", "text": "$text"}'
    push_headers: str = "{}"
    push_secret_file: Path | None = None
    webhook_url: str | None = None
    webhook_secret_file: Path | None = None
    http_timeout_s: Annotated[float, Field(ge=1, le=90)] = 20
    notify_per_hour: Annotated[int, Field(ge=1, le=1000)] = 5
    sealing_key: Path | None = None

    @classmethod
    def load(cls) -> "NotifySettings":
        """From the environment; raises SettingsError with every variable that makes no sense."""
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(faults(error)) from None

    def channels(self) -> list[Channel]:
        """Those that there are settings for. Raises SettingsError."""
        found: list[Channel] = []
        if self.smtp_host is not None:
            found.append(self._mail(self.smtp_host))
        for name, url in (("sms", self.sms_url), ("push", self.push_url)):
            if url is not None:
                found.append(self._provider(name, url))
        if self.webhook_url is not None:
            found.append(self._webhook(self.webhook_url))
        return found

    def sealing(self) -> bytes:
        """What codes are sealed with: the key in SEGS_SEALING_KEY, else that in the folder of keys. Raises KeysError,
        SettingsError."""
        return sealing_key(self.sealing_key or IdentitySettings.load().keys_folder / SEALING)

    def _mail(self, host: str) -> Mail:
        if self.smtp_from is None:
            raise SettingsError("SEGS_SMTP_FROM: give the address that mail comes from")
        if (self.smtp_user is None) != (self.smtp_password_file is None):
            raise SettingsError(
                "SEGS_SMTP_USER and SEGS_SMTP_PASSWORD_FILE: give both, or none for a server without login"
            )
        try:
            sender = address(self.smtp_from)
        except Undeliverable:
            raise SettingsError(f"SEGS_SMTP_FROM: {self.smtp_from!r} is no address; give one@example.org") from None
        if not sender.isascii():
            raise SettingsError(f"SEGS_SMTP_FROM: {self.smtp_from!r} has letters that not every server takes")
        tls = self.smtp_security is Security.TLS
        server = Server(
            host=host,
            port=self.smtp_port or (465 if tls else 587),
            implicit_tls=tls,
            sender=sender,
            sender_name=self.smtp_from_name,
            user=self.smtp_user,
            password=None
            if self.smtp_password_file is None
            else read(self.smtp_password_file, "SEGS_SMTP_PASSWORD_FILE"),
            timeout_s=self.smtp_timeout_s,
            trusted=self.smtp_ca_file,
        )
        try:
            return Mail(server)
        except OSError as error:
            raise SettingsError(f"SEGS_SMTP_CA_FILE: {self.smtp_ca_file}: {error}") from None

    def _provider(self, name: str, url: str) -> Provider:
        secret_file = self.sms_secret_file if name == "sms" else self.push_secret_file
        return Provider(
            name=name,
            url=_url(url, f"SEGS_{name.upper()}_URL"),
            method=self.sms_method if name == "sms" else self.push_method,
            body=_document(self.sms_body if name == "sms" else self.push_body, f"SEGS_{name.upper()}_BODY"),
            headers=_headers(self.sms_headers if name == "sms" else self.push_headers, f"SEGS_{name.upper()}_HEADERS"),
            secret=None if secret_file is None else read(secret_file, f"SEGS_{name.upper()}_SECRET_FILE"),
            timeout_s=self.http_timeout_s,
        )

    def _webhook(self, url: str) -> Webhook:
        if self.webhook_secret_file is None:
            raise SettingsError("SEGS_WEBHOOK_SECRET_FILE: name the file of the secret that messages are signed with")
        secret = read(self.webhook_secret_file, "SEGS_WEBHOOK_SECRET_FILE")
        if len(secret) < _SHORTEST:
            raise SettingsError(f"SEGS_WEBHOOK_SECRET_FILE: give a secret of {_SHORTEST} characters or more, by chance")
        return Webhook(url=_url(url, "SEGS_WEBHOOK_URL"), secret=secret.encode(), timeout_s=self.http_timeout_s)


def _url(text: str, variable: str) -> str:
    """Codes go over TLS, or stay on this machine."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.host == "" or (url.scheme != "https" and (url.scheme, url.host) != ("http", "127.0.0.1")):
        raise SettingsError(f"{variable}: give the address of a receiver, https://example.org/messages")
    return text


def _document(text: str, variable: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{variable} is no JSON: {error}") from None


def _headers(text: str, variable: str) -> Mapping[str, str]:
    found = _document(text, variable)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SettingsError(f'{variable}: give names and texts, {{"Authorization": "Bearer $secret"}}')
    return found
