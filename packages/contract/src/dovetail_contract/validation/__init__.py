"""A parser and serializer fields that are stricter than REST framework's: invalid input is 400 and never 500."""
