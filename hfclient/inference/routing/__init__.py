"""Who is asked, and who is asked next when that fails."""
