"""The steps from a request to the API key that it carries.

``authentication`` reads the key from the request and the stored row from the database, ``verifiers`` recognize its
kind, ``cache`` holds verified credentials, and ``usage`` records that the key was used.
"""
