"""Limits of mails and guesses.

Counters are in a cache, outside of every transaction. They are raised before a guess is compared and given back if it
was right, so parallel guesses cannot pass uncounted.
"""
