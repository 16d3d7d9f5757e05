"""Runs a batch of prompts with a checkpoint in a process of its own, for tests that kill it.

    python -m tests.batch.prompts_in_a_process URL CHECKPOINT COUNT WORKERS

The number of each result that is handed out is a line of the output, and the last line is "done".
"""

from __future__ import annotations

import sys

from hfclient import Client


def prompts(count: int) -> list[str]:
    return [f"prompt {number}" for number in range(count)]


def main() -> None:
    url, checkpoint, count, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with Client(token="", cookies="", session="", inference_url=url) as client:
        for result in client.inference.map(prompts(count), model="m", workers=workers, checkpoint=checkpoint):
            assert result.get().text == f"PROMPT {result.index}"
            print(result.index, flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
