"""Servers before 2026: their versions, their API, the data behind their pages, and their types of updates."""
