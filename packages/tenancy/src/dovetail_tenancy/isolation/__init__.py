"""The isolation of organizations in the ORM, in the order in which the data flows.

``scope`` holds the active organization, ``expressions`` turn it into SQL conditions, and ``querysets``, ``fields`` and
``relations`` put these conditions into queries, joins and writes. ``database_scope`` hands the scope to PostgreSQL's
row-level security, ``background`` to code that runs outside a request.
"""
