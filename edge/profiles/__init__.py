"""Meter models as data: one TOML file per model, the models that check them, and the pure decoders that use them."""
