"""The dates at which operations and versions are deprecated and removed.

Nothing here reads settings, because ``conf`` validates settings with these modules.
"""
