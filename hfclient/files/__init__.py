"""Files of callers and servers: sources, media types, Pillow images, data URLs, saving. Below chat and inference."""
