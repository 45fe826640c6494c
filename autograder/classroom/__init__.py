"""What instructors and authors do with whole labs and whole classes."""
