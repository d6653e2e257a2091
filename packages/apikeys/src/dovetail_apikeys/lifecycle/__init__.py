"""The import of keys from other libraries."""
