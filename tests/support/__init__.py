"""What tests and benchmarks share: a tiny teacher, its data, child processes, a database server."""
