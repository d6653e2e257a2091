"""Where flags come from: the project's database, or another service."""
