"""gptmill's side of `bench.tokens`: `python -m bench.tokens_run CORPUS TOKENIZER OUTPUT SETTINGS_JSON WORKERS`.

The tokens step alone: with 0 workers its tasks one after the other in this process, otherwise on an embedded Ray.
"""

from __future__ import annotations

import json
import sys

from bench.in_process import InProcess
from pipeline.engine import Engine
from pipeline.shard import StageDirectory
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens

if __name__ == "__main__":
    corpus, tokenizer, output, fields, workers = sys.argv[1:]
    settings = TokensSettings.model_validate(json.loads(fields))
    if workers == "0":
        write_tokens(settings, StageDirectory(corpus), tokenizer, output, InProcess())
    else:
        with Engine(int(workers)) as engine:
            write_tokens(settings, StageDirectory(corpus), tokenizer, output, engine)
