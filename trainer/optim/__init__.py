"""Optimizers: AdamW, Adafactor, Muon; which parameters decay; who owns which state."""
