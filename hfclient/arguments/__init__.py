"""Arguments of public calls: their types, and hints for misspelt options."""
