"""Small real things for tests and benchmarks: a tiny teacher, its data, a database server."""
