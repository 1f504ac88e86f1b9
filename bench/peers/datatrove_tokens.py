"""datatrove's side of `bench.tokens`: `python datatrove_tokens.py INPUT_FOLDER OUTPUT_FOLDER TOKENIZER_JSON`.

Its documented tokenization step: JSON Lines in, `.ds` files with an index out, documents shuffled within each file.
"""

import sys

from datatrove.executor.local import LocalPipelineExecutor  # type: ignore[import-not-found]
from datatrove.pipeline.readers import JsonlReader  # type: ignore[import-not-found]
from datatrove.pipeline.tokens import DocumentTokenizer  # type: ignore[import-not-found]

if __name__ == "__main__":
    source, output, tokenizer = sys.argv[1:]
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(source, glob_pattern="*.jsonl.gz"),
            DocumentTokenizer(
                output_folder=output,
                tokenizer_name_or_path=tokenizer,
                local_working_dir=output + "-work",
                eos_token="<|endoftext|>",
                seed=1,
            ),
        ],
        tasks=1,
        logging_dir=output + "-logs",
    ).run()
