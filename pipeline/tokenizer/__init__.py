"""From clean text to a tokenizer."""
