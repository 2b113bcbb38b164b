"""What a run found, for people: the documents that steps leave, and the HTML report drawn from them."""
