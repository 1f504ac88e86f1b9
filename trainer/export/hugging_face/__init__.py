"""Models from and to directories that Hugging Face's transformers opens: GPT-2's and Llama's architecture."""

from trainer.export.hugging_face.directory import read_directory, write_directory

__all__ = ["read_directory", "write_directory"]
