"""The choice of a provider, and the next one when it fails."""
