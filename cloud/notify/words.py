"""What messages say, in the languages that they have. `$name` stands for a value; a paragraph `$code` is set large.

A value that a template has no use for is left out; one that it needs and does not get makes the message a dead letter.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """One message in one language. `item` is its line in a digest, `digest` the subject and first paragraph of one."""

    subject: str
    paragraphs: tuple[str, ...]
    item: str = ""
    digest: tuple[str, str] = ("", "")


GREETING = {"en": "Hello $name,", "de": "Guten Tag $name,"}
MORE = {"en": "and $count more", "de": "und $count weitere"}

_CODE_EN = "It holds for ten minutes and for this alone. We never ask for it. If you did not ask for it, do nothing."
_CODE_DE = (
    "Er gilt zehn Minuten und nur dafür. Wir fragen nie danach. Wenn Sie ihn nicht angefordert haben, tun Sie nichts."
)
_NOT_YOU_EN = "If that was not you, set another password at once, and tell us."
_NOT_YOU_DE = "Wenn Sie das nicht waren, setzen Sie sofort ein anderes Kennwort und sagen Sie uns Bescheid."

WORDS: Mapping[str, Mapping[str, Words]] = {
    "verify_email": {
        "en": Words("Your code", ("This code proves that the address is yours:", "$code", _CODE_EN)),
        "de": Words("Ihr Code", ("Dieser Code bestätigt, dass die Adresse Ihre ist:", "$code", _CODE_DE)),
    },
    "reset_password": {
        "en": Words("Your code for another password", ("With this code you set another password:", "$code", _CODE_EN)),
        "de": Words(
            "Ihr Code für ein anderes Kennwort",
            ("Mit diesem Code setzen Sie ein anderes Kennwort:", "$code", _CODE_DE),
        ),
    },
    "change_email": {
        "en": Words("Your code for another address", ("This code proves the new address:", "$code", _CODE_EN)),
        "de": Words("Ihr Code für eine andere Adresse", ("Dieser Code bestätigt die neue Adresse:", "$code", _CODE_DE)),
    },
    "already_registered": {
        "en": Words(
            "You have an account already",
            (
                "somebody asked for an account with this address. It has one already, and nothing was changed.",
                "If it was you and the password is lost, have a code sent for another one.",
            ),
        ),
        "de": Words(
            "Sie haben schon ein Konto",
            (
                "jemand wollte ein Konto mit dieser Adresse. Sie hat schon eines, und nichts wurde geändert.",
                "Wenn Sie es waren und das Kennwort fehlt, lassen Sie sich einen Code für ein anderes schicken.",
            ),
        ),
    },
    "password_changed": {
        "en": Words("Your password was changed", ("the password of your account was changed.", _NOT_YOU_EN)),
        "de": Words("Ihr Kennwort wurde geändert", ("das Kennwort Ihres Kontos wurde geändert.", _NOT_YOU_DE)),
    },
    "second_factor_on": {
        "en": Words("Your second factor is on", ("logging in now takes a second factor.", _NOT_YOU_EN)),
        "de": Words("Ihr zweiter Faktor ist an", ("die Anmeldung braucht jetzt einen zweiten Faktor.", _NOT_YOU_DE)),
    },
    "second_factor_off": {
        "en": Words("Your second factor is off", ("logging in now takes the password alone.", _NOT_YOU_EN)),
        "de": Words("Ihr zweiter Faktor ist aus", ("zur Anmeldung genügt jetzt das Kennwort.", _NOT_YOU_DE)),
    },
    "second_factor_refused": {
        "en": Words(
            "Somebody knows your password",
            ("somebody gave your password, and then wrong codes of the second factor.", _NOT_YOU_EN),
        ),
        "de": Words(
            "Jemand kennt Ihr Kennwort",
            ("jemand hat Ihr Kennwort angegeben und dann falsche Codes des zweiten Faktors.", _NOT_YOU_DE),
        ),
    },
    "test": {
        "en": Words("Messages arrive", ("this message was sent to see that messages arrive.",)),
        "de": Words("Nachrichten kommen an", ("diese Nachricht zeigt, dass Nachrichten ankommen.",)),
    },
    "alert": {
        "en": Words(
            "Alert at $subject: $message",
            ("since $started_at, at $subject:", "$message", "You choose in your preferences what you hear of."),
            "$started_at, $subject: $message",
            ("$count alerts", "there were $count alerts:"),
        ),
        "de": Words(
            "Warnung bei $subject: $message",
            ("seit $started_at, bei $subject:", "$message", "In Ihren Einstellungen wählen Sie, wovon Sie hören."),
            "$started_at, $subject: $message",
            ("$count Warnungen", "es gab $count Warnungen:"),
        ),
    },
    "alert_resolved": {
        "en": Words(
            "Over at $subject: $message",
            ("over since $resolved_at, at $subject:", "$message", "It began at $started_at."),
            "$resolved_at: over at $subject: $message",
            ("$count alerts are over", "$count alerts are over:"),
        ),
        "de": Words(
            "Vorbei bei $subject: $message",
            ("vorbei seit $resolved_at, bei $subject:", "$message", "Es begann $started_at."),
            "$resolved_at: vorbei bei $subject: $message",
            ("$count Warnungen sind vorbei", "$count Warnungen sind vorbei:"),
        ),
    },
    "alert_escalated": {
        "en": Words(
            "Nobody took this on at $subject: $message",
            (
                "since $started_at, at $subject, and nobody took it on:",
                "$message",
                "Take it on, and it is not told again.",
            ),
            "$started_at, $subject: $message",
            ("Nobody took $count alerts on", "nobody took $count alerts on:"),
        ),
        "de": Words(
            "Noch niemand kümmert sich um $subject: $message",
            (
                "seit $started_at, bei $subject, und noch niemand kümmert sich darum:",
                "$message",
                "Übernehmen Sie es, dann wird nicht wieder davon berichtet.",
            ),
            "$started_at, $subject: $message",
            ("Um $count Warnungen kümmert sich niemand", "um $count Warnungen kümmert sich noch niemand:"),
        ),
    },
    "price_changed": {
        "en": Words(
            "The price of electricity changes",
            ("from $from a kilowatt-hour in $region costs $price_per_kwh $currency.",),
            "$from: $price_per_kwh $currency",
            ("$count changes of the price", "the price changed $count times:"),
        ),
        "de": Words(
            "Der Strompreis ändert sich",
            ("ab $from kostet eine Kilowattstunde in $region $price_per_kwh $currency.",),
            "$from: $price_per_kwh $currency",
            ("$count Preisänderungen", "der Preis hat sich $count-mal geändert:"),
        ),
    },
}
"""By template and language."""
