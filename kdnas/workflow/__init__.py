"""The seven steps of a run as functions; `pipeline` has them in order."""
