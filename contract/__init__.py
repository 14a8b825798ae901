"""What gateways and the cloud say to each other: quantities and units, the batch, the receipt.

This package imports nothing of ours, so that either side can be upgraded, tested or replaced without the other.
"""
