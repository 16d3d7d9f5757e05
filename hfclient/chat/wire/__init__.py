"""chat-ui's protocol as values: paths and forms, updates, messages, errors. No I/O."""
