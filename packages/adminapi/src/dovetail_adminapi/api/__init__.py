"""The HTTP API: the guard around each view, the operations, and the views of this package."""
