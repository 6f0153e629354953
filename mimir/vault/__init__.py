"""A vault: a folder of notes that stand for memories, and what is known of each since both were last the same."""
