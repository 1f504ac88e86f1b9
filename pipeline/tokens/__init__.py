"""From clean text and a tokenizer to the token dataset: encode, shuffle, pack, write; import and export."""
