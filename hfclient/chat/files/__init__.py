"""Files that go with a message, files that come with an answer, and conversations written to files."""
