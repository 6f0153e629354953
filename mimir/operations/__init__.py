"""The operations, one module per family; each is declared once, here."""
