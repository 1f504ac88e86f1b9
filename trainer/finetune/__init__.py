"""Conversations to a model that answers: template, loss mask, data."""
