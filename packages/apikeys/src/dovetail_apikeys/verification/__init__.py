"""From a request to the API key that it carries.

In the order of the flow: ``authentication`` reads the key from the request, ``verifiers`` recognize its kind
(``raw_key`` for ours), ``cache`` and ``lookup`` find the stored row, and ``usage`` records that the key was used.
"""

from __future__ import annotations
