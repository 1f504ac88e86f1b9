"""The recipes that come with gptmill, as package data; this file makes the folder findable when installed."""
