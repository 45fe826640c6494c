"""What the grader promises: right verdicts, whatever it is given, in bounded time, with nothing left behind."""
