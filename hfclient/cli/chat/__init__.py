"""``hfclient chat``: one answer, or a conversation in the terminal."""
