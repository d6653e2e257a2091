"""Fixtures of pytest for projects."""
