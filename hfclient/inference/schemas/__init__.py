"""JSON schemas of classes and functions, how a server is asked for them, and values made of what comes back."""
