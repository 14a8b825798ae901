"""E-mail: a message as MIME, and its way to a server over TLS."""

import asyncio
import re
import ssl
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.policy import SMTPUTF8 as WIRE_UTF8
from email.utils import format_datetime
from pathlib import Path

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from cloud.notify.message import Message, Text
from cloud.notify.outcome import Outcome, Result, Undeliverable
from cloud.notify.text import clean, language_of

# Dots, what RFC 5322 calls atext, and letters beyond ASCII: no quotes, comments or brackets, of which servers differ.
_LOCAL = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+")
_SPECIAL = re.compile(r'[()<>\[\]:;@\\,"=?]')
_HEADERS = sorted(
    [
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
        *("MIME-Version", "Content-Type", "Content-Language"),
    ]
)
_PERMANENT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where mail goes. `implicit_tls` begins with TLS; else STARTTLS is required before anything is said.

    `timeout_s` is that of a whole attempt. `trusted` is a file of certificates in place of the system's.
    """

    host: str
    port: int
    implicit_tls: bool
    sender: str
    sender_name: str
    user: str | None
    password: str | None
    timeout_s: float
    trusted: Path | None

    def context(self) -> ssl.SSLContext:
        """Raises OSError where `trusted` can't be read."""
        return ssl.create_default_context(cafile=None if self.trusted is None else str(self.trusted))


def address(text: str | None) -> str:
    """The address to give to a server, its domain in ASCII. Raises Undeliverable for what is no plain address."""
    local, _, domain = (text or "").rpartition("@")
    try:
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        ascii_domain = ""
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(ascii_domain) or len(local) > 64:
        raise Undeliverable("there is no address that mail can be sent to")
    return f"{local}@{ascii_domain}"


def mime(server: Server, message: Message, text: Text, now: datetime) -> EmailMessage:
    """The whole mail. Of the same message it has the same Message-ID. Raises Undeliverable."""
    to = address(message.email)
    mail = EmailMessage(policy=WIRE if to.isascii() else WIRE_UTF8)
    try:
        mail["From"] = _named(server.sender_name, server.sender)
        mail["To"] = _named(message.name or "", to)
        mail["Subject"] = clean(text.subject)[:200].replace("=?", "= ?")
    except (ValueError, HeaderParseError):
        raise Undeliverable("its headers can't be written") from None
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{message.key}@{server.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text.plain)
    mail.add_alternative(text.html, subtype="html")
    mail["Content-Language"] = language_of(message)
    return mail


def wire(mail: EmailMessage) -> bytes:
    """The mail as it goes over the wire. Raises Undeliverable where its values have made headers of their own."""
    content = mail.as_bytes()
    head = content.partition(b"\r\n\r\n")[0]
    names = [
        line.partition(b":")[0].decode("ascii", "replace") for line in head.split(b"\r\n") if line[:1] not in b" \t"
    ]
    if sorted(names) != _HEADERS or b"\n" in head.replace(b"\r\n", b""):
        raise Undeliverable("its headers can't be written")
    return content


def _named(name: str, to: str) -> Address:
    """A name that a parser could take for more than a name loses what makes it so, encoded words included."""
    local, _, domain = to.rpartition("@")
    return Address(clean(_SPECIAL.sub(" ", name))[:60], username=local, domain=domain)


class Mail:
    """The channel."""

    name = "email"

    def __init__(self, server: Server) -> None:
        self._server = server
        self._context = server.context()
        self.timeout_s = server.timeout_s

    async def deliver(self, message: Message, text: Text, now: datetime) -> Outcome:
        """Raises Undeliverable. What goes wrong before the server hears of this message says nothing about it."""
        mail = wire(mime(self._server, message, text, now))
        to = address(message.email)
        client = SMTP(
            hostname=self._server.host,
            port=self._server.port,
            use_tls=self._server.implicit_tls,
            start_tls=not self._server.implicit_tls,
            tls_context=self._context,
            username=self._server.user,
            password=self._server.password,
            # Else it is looked up, and a name server that hangs would hold up everybody.
            local_hostname=self._server.sender.rpartition("@")[2],
            timeout=self._server.timeout_s,
        )
        try:
            async with asyncio.timeout(self._server.timeout_s):
                await client.connect()
                return await self._hand_over(client, mail, to)
        except TimeoutError:
            return Outcome(Result.DEFERRED, f"no answer within {self._server.timeout_s:g} s")
        except SMTPResponseException as error:
            return Outcome(Result.DEFERRED, f"{error.code} {error.message}")
        except (SMTPException, OSError) as error:
            return Outcome(Result.DEFERRED, str(error))
        finally:
            client.close()

    async def _hand_over(self, client: SMTP, mail: bytes, to: str) -> Outcome:
        encoding, options = "ascii", []
        if not to.isascii():
            if not client.supports_extension("smtputf8"):
                raise Undeliverable("the server takes no address with letters beyond ASCII")
            encoding, options = "utf-8", ["SMTPUTF8"]
        await client.mail(self._server.sender, options=options, encoding=encoding)
        try:
            await client.rcpt(to, encoding=encoding)
            answer = await client.data(mail)
        except SMTPResponseException as error:
            result = Result.DEAD if error.code >= _PERMANENT else Result.DEFERRED
            return Outcome(result, f"{error.code} {error.message}")
        if isinstance(client.transport, asyncio.WriteTransport):
            # The server has it: nothing that it says to this matters any more.
            client.transport.write(b"QUIT\r\n")
        return Outcome(Result.DELIVERED, f"{answer.code} {answer.message}")
