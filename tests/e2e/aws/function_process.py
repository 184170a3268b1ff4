"""One invocation of a function in a process of its own, instead of ``python -m awslambdaric``.

It reads the event from stdin and writes the answer to the file that the argument names; stdout and
stderr are the log.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

STARTED = time.monotonic()
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 6 MB.
MAX_ANSWER = 6 * 2**20


class Context:
    """Context argument of a handler."""

    function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
    aws_request_id = f"00000000-0000-4000-8000-{os.getpid():012d}"

    def get_remaining_time_in_millis(self) -> int:
        limit_s = float(os.environ["LOOPBACK_TIMEOUT_S"])
        return int(1000 * (limit_s - (time.monotonic() - STARTED)))


def answer(event: object) -> dict[str, Any]:
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    try:
        handler = getattr(importlib.import_module(module), name)
        result = handler(event, Context())
        size = len(json.dumps(result))
    except Exception as error:  # noqa: BLE001 -- any error of a handler is its answer
        trace = traceback.format_tb(error.__traceback__)
        traceback.print_exc()
        return {
            "error": {
                "errorType": type(error).__name__,
                "errorMessage": str(error),
                "stackTrace": trace,
            }
        }
    if size > MAX_ANSWER:
        message = f"Response payload size ({size} bytes) exceeded maximum allowed payload size"
        return {"error": {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}}
    return {"result": result}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(answer(json.load(sys.stdin))))
