"""Displays in notebooks: live answers, values, ``%%chat``. It uses the public API only, and needs nothing but IPython.

Nothing of it is imported until IPython displays an object of hfclient, or ``%load_ext hfclient`` is run.
"""
