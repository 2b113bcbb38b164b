"""Why an object failed or does not come about: facts collected first, then judged by a table of causes."""
