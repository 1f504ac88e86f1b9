"""Raw text to a clean, tokenized, sharded Arrow corpus, on Ray."""
