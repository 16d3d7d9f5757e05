"""Which models there are, and who serves them: the Hub, the router's list, lists for when neither answers."""
