"""Payload maps: what a profile may say, and the decoder that applies it."""
