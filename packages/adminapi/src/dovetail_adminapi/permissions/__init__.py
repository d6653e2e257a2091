"""What a caller may do: permissions of Django, roles of tokens, scopes of machines."""
