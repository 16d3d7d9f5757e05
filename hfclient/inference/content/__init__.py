"""What goes into a prompt besides text, and comes out of models: pictures, sounds, files, their types and their URLs."""
