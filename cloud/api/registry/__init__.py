"""Meters, gateways, devices and regions: what there is, whose and where."""
