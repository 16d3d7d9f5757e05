"""What callers call a file, and what files are: sources, types, pictures of Pillow, data URLs. Below chat and inference."""
