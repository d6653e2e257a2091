"""HTTP calls to push services, and to endpoints that users choose."""
