"""What people see: tables, sentences and JSON."""
