"""Roles, permissions and memberships, and the organization that a request is for. The services write."""
