"""Secrets and control characters are kept out of errors and logs."""
