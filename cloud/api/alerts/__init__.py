"""Alerts over HTTP: what was found wrong, what people do about it, by which rules, and when nobody is to be told."""
