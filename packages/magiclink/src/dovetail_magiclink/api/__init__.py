"""The HTTP surface, to be included at ``/api/auth/``."""
