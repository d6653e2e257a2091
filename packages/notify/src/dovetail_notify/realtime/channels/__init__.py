"""Sockets and the channel layer with Django Channels, which is optional."""
