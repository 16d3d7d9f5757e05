"""The formats of an export: one module each. They turn a conversation into text, and neither read nor write anything."""
