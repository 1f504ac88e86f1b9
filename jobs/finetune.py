"""The finetune step: conversations (given, or made from the corpus) to an instruction-tuned GPT."""
