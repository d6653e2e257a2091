"""Metrics: their registry, nightly rollups, and answers from them."""
