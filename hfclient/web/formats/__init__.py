"""Formats of bodies. One of your own is a class with the methods of `Format`."""

from hfclient.web.formats.base import Format, event_json, json_line
from hfclient.web.formats.own import EventStream, JsonLines, Text

__all__ = ["EventStream", "Format", "JsonLines", "Text", "event_json", "json_line"]
