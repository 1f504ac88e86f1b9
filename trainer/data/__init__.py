"""Which rows a step sees and how they come from disk; no torch, no state but the step."""
