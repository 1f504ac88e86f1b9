"""Token dataset -> GPT -> instruction-tuned GPT, trained through DeepSpeed."""
