"""Images and videos: requests, jobs that wait in a queue, and what was made."""
