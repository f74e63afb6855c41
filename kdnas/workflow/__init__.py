"""The seven steps of a run, each class what the next one builds on."""
