"""One module for each optional dependency."""
