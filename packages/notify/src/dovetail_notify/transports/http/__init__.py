"""HTTP calls to other servers: endpoints that users choose, and push services."""
