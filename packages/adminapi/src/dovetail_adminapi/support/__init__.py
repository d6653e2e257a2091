"""Access of administrators to accounts of users, with consent."""
