"""Question and answer pairs made from the corpus, for finetuning."""
