"""One module for each optional dependency. No other module of the package imports them."""
