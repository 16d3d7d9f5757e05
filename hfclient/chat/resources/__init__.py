"""Properties of a client besides its conversations: lists, settings, the server, the login."""
