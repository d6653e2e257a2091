"""Inboxes: reading and counting notifications, their owners' preferences, and how long notifications are stored."""
