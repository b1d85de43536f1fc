"""The format of the HumanBody Segment API V2, once: for the client and for the local server."""
