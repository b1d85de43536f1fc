"""The HumanBody Segment API V2: its wire format, the client, and the pacing of calls."""
