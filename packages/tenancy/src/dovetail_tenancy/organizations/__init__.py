"""Roles, permissions and memberships, and the organization that a request is for.

``role_table`` holds the default roles and needs no settings. Code that writes is in ``dovetail_tenancy.services``.
"""
