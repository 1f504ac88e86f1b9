"""Finished models in and out."""
