"""Conversations: messages that are sent exactly once, and the streams of their answers, which resume."""
