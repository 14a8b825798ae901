"""The gateway's configuration: one TOML file, checked whole before anything starts."""
