"""Threads of users, answered by a chat-ui."""
