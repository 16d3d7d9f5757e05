"""One chat server: its session, its authentication, its API."""
