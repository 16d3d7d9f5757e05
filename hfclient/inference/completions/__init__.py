"""Chat completions on the wire: messages out; bytes to events and a stream of them back."""
