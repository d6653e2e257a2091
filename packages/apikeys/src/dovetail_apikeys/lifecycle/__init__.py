"""Keys before and after their use: the import of keys from other libraries, and notices of expiry."""
