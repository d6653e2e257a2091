"""The REST API: the audit log of an organization, and that of all for administrators."""
