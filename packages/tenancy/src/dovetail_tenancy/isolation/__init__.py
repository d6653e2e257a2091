"""The isolation of organizations in the ORM, in the order in which the data flows.

``scope`` holds the active organization, for the ORM and for row-level security. ``querysets``, ``fields`` and
``relations`` apply it to queries, joins and writes.
"""
