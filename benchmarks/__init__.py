"""How fast hfclient is, beside what else people use. Run with ``python -m benchmarks``; see README.md here."""
