"""The HTTP surface: ``urls`` (sign-in) and ``v1_urls`` (the account)."""
