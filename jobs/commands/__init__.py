"""The commands of `gptmill`, by what they are for; `jobs.cli` lists them. Each imports what it needs when called."""
