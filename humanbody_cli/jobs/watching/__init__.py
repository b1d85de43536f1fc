"""``hbseg watch``: a folder whose photos are processed as they arrive."""
