"""What each command does, behind the command line's options."""
