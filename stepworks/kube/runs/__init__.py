"""What a run makes: adopted, held, let go of, deleted."""
