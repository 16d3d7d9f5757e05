"""Bytes and texts as servers send them: lines, frames, damaged JSON, UTF-16 offsets, <think> tags. No I/O."""
