"""The isolation of organizations in the ORM, in the order in which the data flows.

``scope`` holds the active organization, for the ORM and for row-level security. ``expressions`` turns it into SQL
conditions. ``querysets``, ``fields`` and ``relations`` apply the conditions to queries, joins and writes.
``background`` activates an organization outside a request.
"""
