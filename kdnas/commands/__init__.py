"""The commands. Each is thin: it reads its options and calls the room that does the work."""
