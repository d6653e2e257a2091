"""Entries as readers see them: which rows, by which filters, in which form."""
