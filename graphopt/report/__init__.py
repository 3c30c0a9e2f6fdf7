"""What a run has to say: measures, the record, and its views."""
