"""Images and videos: their generation, jobs in a queue, and results."""
