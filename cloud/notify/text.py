"""Fills the words of a message with its values: plain text and HTML from the same paragraphs, so both say the same."""

import html
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from string import Template
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cloud.notify.measured import about, sentence
from cloud.notify.message import Message, Text
from cloud.notify.outcome import Undeliverable
from cloud.notify.words import GREETING, MORE, WORDS, Words

_SHOWN = 50
_LONGEST_VALUE = 500
_TIMES = {"en": "%d %b %Y %H:%M", "de": "%d.%m.%Y %H:%M"}
_STYLE = "font-family:sans-serif;font-size:16px;line-height:1.5"
_CODE = '<p style="font-size:32px;letter-spacing:6px"><strong>{}</strong></p>'


def clean(value: object) -> str:
    """`value` as one line: what is invisible, turns the direction of text or ends a line becomes a space.

    Names are typed by strangers: who registers somebody else's address chooses a name for them.
    """
    text = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in str(value)[:_LONGEST_VALUE])
    return " ".join(text.split())


def language_of(message: Message) -> str:
    """en, where the words are in no language that the person reads better."""
    wanted = (message.language or "en").partition("-")[0]
    return wanted if wanted in GREETING else "en"


def fill(message: Message, secret: str) -> Text:
    """What the message says. Raises Undeliverable for a template that is unknown, or lacks a value."""
    known = WORDS.get(message.template)
    if known is None:
        raise Undeliverable(f"there is no template {message.template}")
    language = language_of(message)
    words = known[language]
    values = _values(message, message.payload, language) | {"name": clean(message.payload.get("name") or message.name)}
    if secret:
        values["code"] = secret
    items: list[str] = []
    if message.others:
        subject, first = words.digest
        values["count"] = str(len(message.others) + 1)
        items = list(_items(message, words, language))
        paragraphs: tuple[str, ...] = (first,)
    else:
        subject, paragraphs = words.subject, words.paragraphs
    greeting = _filled(GREETING[language], values)
    said = [_filled(paragraph, values) for paragraph in paragraphs]
    short = " ".join([*said, *items[:3]])[:_LONGEST_VALUE]
    details = None if message.others else about(message.payload, language)
    if details is not None:
        paragraphs, said = (*paragraphs, ""), [*said, clean(details)]
    return Text(
        subject=clean(_filled(subject, values)),
        short=short,
        plain="\n\n".join([greeting, *said, *(["\n".join(f"- {item}" for item in items)] if items else [])]) + "\n",
        html=_html(language, greeting, paragraphs, said, items),
    )


def _items(message: Message, words: Words, language: str) -> Iterator[str]:
    payloads = [message.payload, *message.others]
    for payload in payloads[:_SHOWN]:
        # One that lacks a value keeps none of the others from being read.
        yield Template(words.item).substitute(defaultdict(lambda: "–", _values(message, payload, language)))
    if len(payloads) > _SHOWN:
        yield _filled(MORE[language], {"count": str(len(payloads) - _SHOWN)})


def _values(message: Message, payload: Mapping[str, Any], language: str) -> dict[str, str]:
    try:
        zone = ZoneInfo(message.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        # The database may know zones that this host does not.
        zone = ZoneInfo("UTC")
    said = sentence(payload, language)
    known = payload if said is None else {**payload, "message": said}
    return {name: _value(value, zone, language) for name, value in known.items() if value is not None}


def _value(value: object, zone: ZoneInfo, language: str) -> str:
    if isinstance(value, str) and len(value) >= 20 and value[4:5] == "-" and value[10:11] in ("T", " "):
        try:
            at = datetime.fromisoformat(value)
            if at.tzinfo is not None:
                return at.astimezone(zone).strftime(_TIMES[language])
        except (ValueError, OverflowError):
            return clean(value)
    return clean(value)


def _filled(words: str, values: Mapping[str, str]) -> str:
    try:
        return Template(words).substitute(values)
    except KeyError as error:
        raise Undeliverable(f"the message has no {error.args[0]}") from None


def _html(language: str, greeting: str, paragraphs: tuple[str, ...], said: list[str], items: list[str]) -> str:
    parts = [f"<p>{html.escape(greeting)}</p>"]
    for words, text in zip(paragraphs, said, strict=True):
        parts.append((_CODE if words == "$code" else "<p>{}</p>").format(html.escape(text)))
    if items:
        parts.append(f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>")
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="{language}"><body style="{_STYLE}">\n{body}\n</body></html>\n'
