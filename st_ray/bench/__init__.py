"""Benchmarks that a user can run on their own scene: `st-ray bench`."""
