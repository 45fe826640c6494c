"""A student's Dockerfile, read and carried out as far as that goes without an engine.

    reading   the text: lines, instructions, flags
    words     quotes, variables, JSON
    globs     ``*`` in COPY and ``.dockerignore``
    context   the files that a build may copy, in memory
    steps     what each instruction does to an image: ``carry_out``
    copying   COPY and ADD
    running   what is known of RUN without running it

Both runtimes begin with it, so what is wrong with a Dockerfile is said in the same words in both; where there is an
engine, the engine then builds it. No kept library reads a Dockerfile as Docker does: dockerfile-parse knows neither
``# escape`` nor mistakes, and the docker SDK's patterns take exponential time on hostile ones.
"""
