"""Labels as they are stored: tables, their values and names, the index; read and written back."""
