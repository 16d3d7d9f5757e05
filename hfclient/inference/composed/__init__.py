"""Calls that are made of several chats: tools in a loop, answers as objects."""
