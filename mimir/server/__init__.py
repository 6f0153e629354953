"""The server: a face that translates between the Model Context Protocol and operations."""
