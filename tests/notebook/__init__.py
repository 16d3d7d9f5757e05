"""Displays in notebooks, in a real IPython and a real kernel."""
