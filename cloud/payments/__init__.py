"""Payments: what providers and operators tell of money that came or went back."""
