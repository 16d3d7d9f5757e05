"""Tests of `hfclient.web`."""
