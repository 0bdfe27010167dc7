"""What textmad's speed is, beside the plain way of doing the same work: `make bench`."""
