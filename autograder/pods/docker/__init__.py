"""The docker runtime: a pod's services are containers.

The first container runs the worker, which is the grader inside the pod, and holds the network namespace: a loopback
device and nothing else, so there is no route out for anyone, and ``localhost:8501`` is the same place for the student's
server, the student's client, and the checks with their misbehaving stubs, at whatever port these open. (A worker on
the host would need every port published and could not be reached from inside; entering the namespace from the host
works only for root beside a local engine, not with Docker Desktop.)

    steward    on the host: starts the containers, carries messages between them and the engine, removes them
    pod        in the worker's container: the ``Pod`` that the checks see
    agent      in the container for student programs, its number 1: starts each in the same sandbox as the local runtime
    container  on the host: one service's container, on behalf of whoever asks for it
    builder    builds students' images, asked by the pod through ``making``: the engine copies what ``sending`` packs, a
               RUN is a container that ``watching`` follows, ``layers`` looks through what all of it keeps
    engine     finds the engine, labels what is ours, removes what a killed run left

A student's program that is a service (``serve.sh``) gets a container of the service's own image. All other programs
share one long-lived container: starting one there takes milliseconds, not the half second of a new container. Files
lie in four file systems in memory, of limited size, that all containers of the pod mount. The worker has no access to
the engine; it asks the steward, over its standard input and output.

A playground (``make up-01``) has no worker and no steward. Its pod is ``open``: containers of the
student's own user on the student's own folders, which share the network of the ``gate``; that alone publishes ports, on
loopback.
"""
