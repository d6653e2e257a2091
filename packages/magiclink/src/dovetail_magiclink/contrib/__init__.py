"""Integrations, one module per optional dependency."""
