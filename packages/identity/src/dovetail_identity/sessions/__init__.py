"""Sessions and their tokens: sign-in, rotation and revocation.

A refresh token names its session (``sid``) and its generation (``gen``) in it. The first use of a refresh token makes
it the session's newest, and only then is its predecessor dead. Each use answers with the successor. The successor is
derived from the session's row, so repeated and parallel requests get the same one. So a lost answer costs nothing,
and a client that keeps only its first refresh token stays signed in. A token that comes back after its successor was
used is in two hands, and ends the session (RFC 9700, 4.14.2).
"""
