"""Models that administrators read, and the actions that they call on their rows."""
