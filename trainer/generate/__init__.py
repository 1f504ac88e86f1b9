"""A finished model to text: sampling, streaming, chat."""
