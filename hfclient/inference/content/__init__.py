"""Images, audio and other files in prompts."""
