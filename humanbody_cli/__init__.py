"""hbseg cuts people out of photographs: a batch client, an embedded engine and a local server.

Nothing is imported here: ``hbseg --help`` must not pay for what it does not use.
"""

__version__ = "0.1.0"
