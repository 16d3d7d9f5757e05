"""Everything is declared in setup.cfg; this file is what older installers look for."""

from setuptools import setup

setup()
