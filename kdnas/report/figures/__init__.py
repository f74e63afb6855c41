"""The report's sections, one a file: each makes its plots and its table from the same facts."""
