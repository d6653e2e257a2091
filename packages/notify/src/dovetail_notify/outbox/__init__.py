"""The outbox: deliveries are claimed, sent and recorded; failed ones are retried; some wait for a digest."""
