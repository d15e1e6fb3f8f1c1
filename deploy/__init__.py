"""Starting Waypost: on this machine for a trial (`up`), as an image, on a cloud."""
