"""Models and their providers: the Hub's, the inference server's, and built-in lists."""
