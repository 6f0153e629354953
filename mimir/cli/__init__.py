"""The command line: a face that translates between words in a terminal and operations."""
