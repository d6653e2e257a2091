"""The end of flags: which of them are to be removed."""
