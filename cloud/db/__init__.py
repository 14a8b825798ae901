"""Pools, named queries and what the databases' errors mean."""
