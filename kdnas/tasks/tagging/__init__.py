"""Words and their tags: where words are in texts, and which entities their tags spell."""
