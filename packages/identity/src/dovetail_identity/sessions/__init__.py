"""Sessions and their tokens: sign-in, rotation and revocation.

A refresh token contains its session (``sid``) and its generation in the session (``gen``). Each use of a refresh token
returns the next one, which is derived from the row of the session, so repeated and parallel requests get the same
token. A refresh token expires only when the next one is used. Therefore, a client stays signed in if a response is lost
or if it keeps only its first refresh token. If a token is used after the next one, two parties have it, and the session
ends (RFC 9700, 4.14.2).
"""
