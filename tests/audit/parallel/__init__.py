"""Tests with several connections, which run in a process of their own."""
