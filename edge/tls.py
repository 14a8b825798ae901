"""Whom to trust, and what to show: the client's side of TLS."""

import ssl

from edge.errors import ConfigError


def context(*, ca_file: str | None, certificate_file: str | None, key_file: str | None, trail: str) -> ssl.SSLContext:
    """A context that checks the peer's certificate and name, TLS 1.2 at least. Raises ConfigError, under `trail`."""
    try:
        made = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError([f"{trail}.ca_file: {ca_file}: {_why(error)}; name a file of PEM certificates"]) from error
    if certificate_file is not None:
        try:
            # Nobody is there to type a passphrase.
            made.load_cert_chain(certificate_file, key_file, password=lambda: b"")
        except OSError as error:
            found = f"{certificate_file}, {key_file}: {_why(error)}"
            raise ConfigError([f"{trail}.certificate_file: {found}; name a certificate and its key, in PEM"]) from error
    return made


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM, or a key that needs a passphrase").lower().replace("_", " ")
    return str(error.strerror)
