"""What the processes have counted since the last look, as the rows that gates take."""
