"""Meters on Modbus: the line, the schedule of a bus, and the bus that polls."""
