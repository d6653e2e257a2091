"""The secrets of a mail: an 8-digit code and the key of its link."""
