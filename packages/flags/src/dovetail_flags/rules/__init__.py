"""Rules: their grammar, operators and percentages, and the form in which they are evaluated."""
