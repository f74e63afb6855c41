"""Step 4: which candidates are tried, and the study of them."""
