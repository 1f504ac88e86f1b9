"""Measured claims: one module each, every figure taken from processes that really ran."""
