"""What a terminal shows: Markdown, tables, pictures. Imports rich when it draws, not before."""
