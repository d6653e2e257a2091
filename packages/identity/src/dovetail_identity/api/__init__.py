"""The HTTP API: ``urls`` (sign-in) and ``v1_urls`` (the account)."""
