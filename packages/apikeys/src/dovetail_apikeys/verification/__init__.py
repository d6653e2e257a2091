"""The steps from a request to the API key that it carries.

``authentication`` reads the key from the request, ``verifiers`` recognize its kind (``raw_key`` for our own), ``cache``
and ``lookup`` read the stored row, and ``usage`` records that the key was used.
"""
