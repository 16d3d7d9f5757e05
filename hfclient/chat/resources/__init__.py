"""What else a chat server has: its lists, its settings, what it can do, and how one logs in."""
