"""Measurements that back the figures in the documentation; each prints one JSON object as its last line."""
