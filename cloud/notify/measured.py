"""What an alert measured, as a sentence: the database has it in English, and other languages are made of its parts."""

from collections.abc import Mapping
from typing import Any

_PHASE = {"de": " (Phase {})"}
_BESIDE = {"de": {True: "über", False: "unter"}}
_OF = {"de": "{}: {} von {}"}
UNITS = {"de": {"reads": "Ablesungen", "intervals": "Intervalle", "troubles": "Störungen"}}
TITLES: Mapping[str, Mapping[str, str]] = {
    "de": {
        "voltage_percent": "Spannung in Prozent der Nennspannung",
        "frequency_hz": "Frequenz",
        "phase_lost_s": "Zeit ohne Spannung, während eine andere Phase sie hat",
        "unbalance_percent": "Unsymmetrie der Spannungen",
        "power_factor": "Leistungsfaktor",
        "load_percent": "Leistung in Prozent der Bemessungsleistung",
        "power_w": "Leistung",
        "reverse_power_w": "Eingespeiste Leistung, wo nichts einspeisen soll",
        "register_backwards": "Zählerstand unter dem vorigen",
        "stuck_power_w": "Abstand einer unveränderten Leistung von dem, was das Zählwerk zählt",
        "stuck_register_wh": "Energie, die die Leistung ergibt und das Zählwerk nicht zählt",
        "day_energy_wh": "Energie des Tages bisher",
        "idle_h": "Zeit mit Spannung und ohne Verbrauch",
        "usage_percent": "Energie über dem Üblichen",
        "silent_intervals": "Zeit ohne Messwert",
        "clock_off_s": "Abweichung der Uhr des Gateways",
        "gateway_troubles": "Störungen, die das Gateway meldet",
        "region_load_percent": "Last der Region in Prozent ihrer Kapazität",
        "gateway_silent": "Kein Zähler des Gateways meldet sich",
        "site_silent": "Zähler des Standorts melden sich nicht",
        "region_silent": "Zähler der Region melden sich nicht",
        "region_under_frequency": "Frequenz an mehreren Standorten niedrig",
        "region_over_frequency": "Frequenz an mehreren Standorten hoch",
    }
}
"""By language, of alert_metrics, and of the rules of alert_groups."""

_ABOUT = {
    "en": "Severity {severity}; alert {number}, rule {rule}.",
    "de": "Schwere {severity}; Warnung {number}, Regel {rule}.",
}
_SEVERITIES = {
    "de": {"low": "gering", "medium": "mittel", "warning": "erhöht", "high": "hoch", "critical": "kritisch"},
}


def about(payload: Mapping[str, Any], language: str) -> str | None:
    """How bad an alert is, and by what number and rule it is found; None where `payload` does not say."""
    severity, number, rule = (payload.get(name) for name in ("severity", "alert_id", "rule"))
    if severity is None or number is None or rule is None:
        return None
    said = _SEVERITIES.get(language, {}).get(str(severity), severity)
    return _ABOUT[language].format(severity=said, number=number, rule=rule)


def sentence(payload: Mapping[str, Any], language: str) -> str | None:
    """None where `payload` says in no parts what was measured, or the language has no name for it."""
    measured, titles = payload.get("measured"), TITLES.get(language, {})
    if not isinstance(measured, Mapping):
        return None
    value, threshold = (_number(measured.get(name)) for name in ("value", "threshold"))
    group, metric = (titles.get(str(name)) for name in (payload.get("rule"), measured.get("metric")))
    if value is None or threshold is None:
        return None
    if measured.get("metric") is None:
        return None if group is None else _OF[language].format(group, value, threshold)
    above = measured.get("above")
    if metric is None or not isinstance(above, bool):
        return None
    phase, unit = measured.get("phase"), str(measured.get("unit") or "")
    title = metric + (_PHASE[language].format(phase) if phase else "")
    beside = f"{_BESIDE[language][above]} {threshold}"
    named = f" ({detail})" if (detail := measured.get("detail")) else ""
    return f"{title}: {value} {UNITS[language].get(unit, unit)}".rstrip() + f", {beside}{named}"


def _number(value: object) -> str | None:
    """To a hundredth, as the database rounds it, with the comma of the language."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return f"{value:.2f}".rstrip("0").rstrip(".").replace(".", ",")
