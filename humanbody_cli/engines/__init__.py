"""Engines: each turns an upload into a segmentation. `base.Engine` is the seam."""
