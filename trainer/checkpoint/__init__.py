"""Saving a run so that it goes on exactly where it was, whatever kills it."""
