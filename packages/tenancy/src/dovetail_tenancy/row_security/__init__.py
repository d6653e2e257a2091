"""PostgreSQL's row-level security, a second barrier: the database hides rows that the ORM's conditions missed.

``policies`` holds all SQL, ``session`` applies the scope to a server session before each statement, and ``checks``
finds misconfiguration. The database backend and the migration operation use them.
"""
