"""The sections of a report: each makes its plots and its table from the same data."""
