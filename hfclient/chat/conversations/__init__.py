"""Talking: a conversation, how a message leaves exactly once, and the stream of its answer, which mends itself."""
