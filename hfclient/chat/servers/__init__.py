"""One chat-ui as its callers see it: the session to it, who one is there, and servers of older generations."""
