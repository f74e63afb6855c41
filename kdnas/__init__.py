"""kdnas finds, trains and ships the best small student of a transformer language model."""

__version__ = "0.1.0"
