"""What pages for people have in common: look, script, charts."""
