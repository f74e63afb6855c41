"""Steps 1 and 3: what a run reads, its teacher, and what scores candidates."""
