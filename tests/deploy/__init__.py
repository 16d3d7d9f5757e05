"""Tests with real servers, workers and browsers. They run once, in the tox environment ``deploy``."""
