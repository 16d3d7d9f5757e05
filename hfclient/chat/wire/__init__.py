"""What chat-ui says and is told, as values: paths and forms, its updates, its messages, its three encodings of data."""
