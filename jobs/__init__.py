"""The front of the house: the `gptmill` command, one file a job, only wiring."""
