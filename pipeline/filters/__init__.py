"""Stages that judge each document: one file a published rule set."""
