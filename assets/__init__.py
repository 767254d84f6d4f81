"""The code of freshtune: one room for each step, in the order in which data flow."""
