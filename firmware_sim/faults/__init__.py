"""Faults on purpose: what can go wrong with a meter, when, and how it is asked for while the simulator runs."""
