"""The farm in many processes: a parent that is asked, and shards that collect."""
