"""Jobs: their registry, their rows, and the runners that start them."""
