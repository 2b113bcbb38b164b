"""Tables in: ingest, contract, profile, split, transform."""
