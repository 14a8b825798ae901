"""Accounts: who somebody is, how they prove it, and what they may say of themselves."""
