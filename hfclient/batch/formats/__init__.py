"""Formats of what goes into a batch and comes out: files, tables, and OpenAI's batch files.

`sources` and its neighbours read rows, `row_reader` makes items of them, `result_files` writes results.
"""
