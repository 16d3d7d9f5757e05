"""JSON schemas of classes and functions, the request fields for them, and conversion of answers to Python values."""
