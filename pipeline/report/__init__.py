"""What happened to the documents, as a page to read."""
