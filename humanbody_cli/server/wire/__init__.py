"""Connections, requests and answers on the wire, and the log line of each request."""
