"""What is kept and what goes: files and rows that nobody needs any more."""
