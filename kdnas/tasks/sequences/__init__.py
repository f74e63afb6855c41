"""Texts that are written from texts: targets, losses, generating, metrics, the floor."""
