"""Sign-in by mail: the request for a mail, and the verification of its code or link."""
