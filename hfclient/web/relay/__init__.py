"""Answers that outlive the request that asked for them: runs, their followers and their stores."""
