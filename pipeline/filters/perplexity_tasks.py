"""The tasks of the perplexity survey: train word pieces and models, score shards, find the cut-offs.

Scores of a shard keep language and source beside the perplexity, so the cut-offs are found without the texts.
"""
