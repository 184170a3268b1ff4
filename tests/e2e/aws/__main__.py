"""``python -m tests.e2e.aws SETTINGS``: serve until the process is ended."""

import json
import logging
import os
import signal
import sys
import threading

from tests.e2e.aws.settings import ACCOUNT, Settings


def serve(settings: Settings) -> None:
    """Serve on the loopback; print ``ready`` when it is up."""
    os.environ |= {"MOTO_PORT": str(settings.port), "MOTO_ACCOUNT_ID": ACCOUNT}
    os.environ |= settings.environment()
    # moto reads these variables when it is imported.
    from moto.core import config

    choices = config.default_user_config
    choices["stepfunctions"]["execute_state_machine"] = True
    choices["lambda"]["use_docker"] = choices["batch"]["use_docker"] = False
    choices["iam"]["load_aws_managed_policies"] = True
    from moto.server import ThreadedMotoServer

    from tests.e2e.aws import events, functions, hosts, jobs, maps, permissions, stacks, states
    from tests.e2e.aws.bed import Bed

    bed = Bed(settings)
    for part in (functions, hosts, jobs, states, maps, stacks, events, permissions):
        part.repair(bed)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=settings.port, verbose=False)
    server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    parent = os.getppid()
    while os.getppid() == parent and not ended.wait(timeout=1):
        pass
    bed.end()
    os._exit(0)  # Threads of executions would keep the process alive.


if __name__ == "__main__":
    serve(Settings(**json.loads(sys.argv[1])))
