"""Grades a notebook's exercises: the tests in one process, the student's code in another.

nbgrader runs hidden tests in the student's own kernel, where the student's code may change what an ``assert`` means.
Here they never meet. The *invigilator* runs the instructor's notebook, tests included; in place of each exercise it has
functions that ask the *desk*, a sandboxed process in which only the student's code runs. What crosses is JSON of plain
values. So whatever the student's code does to its own process, a test looks at plain values, in a process of ours.
"""
