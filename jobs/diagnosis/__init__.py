"""What `gptmill doctor` looks at, one file a subject."""
