"""``notify()``: write the rows of the inbox and the outbox, and announce them after commit."""
