"""PostgreSQL's row-level security as a second lock: what the ORM's conditions miss, the database does not show.

``policies`` is all SQL that a table gets, ``session`` what a connection says before each statement, ``operation`` the
migration's part and ``checks`` what can be wrong with it.
"""
