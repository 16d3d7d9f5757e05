"""Tests of `hfclient.doctor`."""
