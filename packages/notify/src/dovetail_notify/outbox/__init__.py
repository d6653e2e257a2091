"""The outbox: claim deliveries, send them, record the outcomes, and send digests."""
