"""Evaluation: the facade ``flags``, its contexts, the results of a request, and what views and templates use."""
