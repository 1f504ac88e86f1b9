"""Stages that remove copies: exact and near."""
