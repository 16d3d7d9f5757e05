"""Which item is asked next, and when: what a server takes, the caller's own limits, and what a refusal means."""
