"""Decoding of bytes and text from servers: lines, frames, damaged JSON, UTF-16 offsets, <think> tags. No I/O."""
