"""From ``notify()`` to the rows of the inbox and the outbox, and to what happens after commit."""
