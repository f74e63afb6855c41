"""Steps 5 and 6: students trained in full, chosen between, and measured."""
