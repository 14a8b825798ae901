"""Meters that publish: the client of a broker, and the devices behind their topics."""
