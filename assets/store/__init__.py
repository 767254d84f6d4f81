"""Objects, digests, keys, records, references and the plan; knows no step by name."""
