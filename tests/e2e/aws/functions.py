"""Lambda: functions of container images run, each invocation a process."""

import json
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import ImageConfig, LambdaFunction, LambdaVersion
from moto.awslambda.utils import get_backend
from moto.awslambda_simple.models import LambdaSimpleBackend

from tests.e2e.aws.bed import Bed, kill_group, put_logs
from tests.e2e.aws.images import Image, ImageError
from tests.e2e.aws.patches import replace, wrap_classmethod
from tests.e2e.aws.permissions import key_of

Answer = dict[str, Any]
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
WAITS_S = (60, 120)
PROCESS = Path(__file__).with_name("function_process.py")


def repair(bed: Bed) -> None:
    """Let moto run functions."""
    _invoke_for_real(bed)
    _take_images_from_templates(bed)
    _publish_versions()


def _invoke_for_real(bed: Bed) -> None:
    """Run functions; without Docker moto answers every invocation with its input."""

    def invoke(
        backend: Any, name: str, qualifier: str, body: bytes | str, headers: Any, answered: Any
    ) -> bytes:
        function = backend.get_function(name, qualifier)
        text = body.decode() if isinstance(body, bytes) else body
        if (headers or {}).get("X-Amz-Invocation-Type") == "Event":
            invoke_later(bed, function, text)
            return b""
        _refuse(bed, name)
        answer = run_function(bed, function, text)
        if "error" in answer:
            answered["x-amz-function-error"] = "Unhandled"
            return json.dumps(answer["error"]).encode()
        return json.dumps(answer["result"]).encode()

    replace(LambdaSimpleBackend, invoke=invoke)


def _refuse(bed: Bed, name: str) -> None:
    """Refuse a call as ordered, as Lambda does while it prepares a function."""
    fault = bed.faults.take("call", function=name)
    if fault is not None:
        bed.journal.note("refused_call", name=name, code=fault["code"])
        error = LambdaClientError(fault["code"], fault["message"])
        error.code = fault["status"]
        raise error


def _take_images_from_templates(bed: Bed) -> None:
    """Keep a function's image, command and log group, which moto's CloudFormation drops."""

    def complete(function: Any, properties: dict[str, Any]) -> Any:
        function.package_type = properties.get("PackageType", "Zip")
        function.image_config = ImageConfig(properties.get("ImageConfig", {}))
        function.log_group_name = properties.get("LoggingConfig", {}).get("LogGroup")
        if function.package_type == "Image":
            function.code_bytes = b""
        return function

    @wrap_classmethod(LambdaFunction, "create_from_cloudformation_json")
    def create(original: Any, name: str, document: Answer, *rest: Any, **kwargs: Any) -> Any:
        properties = document["Properties"]
        # As on AWS, a function cannot be made from an image that does not exist.
        bed.images.pull(properties["Code"]["ImageUri"])
        return complete(original(name, document, *rest, **kwargs), properties)

    @wrap_classmethod(LambdaFunction, "update_from_cloudformation_json")
    def update(original: Any, **kwargs: Any) -> Any:
        function = original(**kwargs)
        properties = kwargs["cloudformation_json"]["Properties"]
        function.code = properties["Code"]
        return complete(function, properties)


def _publish_versions() -> None:
    """Give versions an ARN, which moto lacks, and refuse to publish unchanged content."""

    @wrap_classmethod(LambdaVersion, "create_from_cloudformation_json")
    def create(
        original: Any, name: str, document: Answer, account_id: str, region_name: str, **kwargs: Any
    ) -> Any:
        function = document["Properties"]["FunctionName"]
        backend = get_backend(account_id, region_name)
        before = {entry.version for entry in backend.list_versions_by_function(function)}
        version = original(name, document, account_id, region_name, **kwargs)
        if version.version in before:
            msg = f"A version for this Lambda function exists ( {version.version} )"
            raise RuntimeError(msg)
        published = backend.get_function(function, str(version.version))
        version.physical_resource_id = published.function_arn
        return version


def invoke_later(bed: Bed, function: Any, event: str) -> None:
    """Run a function for an event, and up to twice more if it fails, as AWS does by default."""

    def run() -> None:
        for wait_s in (0, *WAITS_S):
            time.sleep(wait_s * bed.settings.wait_scale)
            if "error" not in run_function(bed, function, event):
                return
        bed.journal.note("event_lost", function=function.function_name)

    threading.Thread(target=run, daemon=True).start()


def run_function(bed: Bed, function: Any, event: str) -> Answer:
    """Run a function; return its result as ``result``, or its failure as ``error``."""
    name = function.function_name
    fault = bed.faults.take("invoke", function=name)
    log = b""
    if fault is not None:
        answer: Answer = {"error": {key: fault[key] for key in ("errorType", "errorMessage")}}
    else:
        try:
            image = bed.images.pull(function.code["ImageUri"])
            answer, log = _run_child(bed, function, image, event)
        except ImageError as error:
            kind, _, text = str(error).partition(": ")
            answer = {"error": {"errorType": kind, "errorMessage": text}}
    bed.journal.note(
        "function",
        name=name,
        version=str(function.version),
        ok="error" not in answer,
        log=log.decode(errors="replace")[-4000:],
    )
    group = function.log_group_name or f"/aws/lambda/{name}"
    put_logs(function.logs_backend, group, "loopback", log)
    return answer


def _run_child(bed: Bed, function: Any, image: Image, event: str) -> tuple[Answer, bytes]:
    config = function.image_config
    entrypoint = config.entry_point or image.entrypoint
    if entrypoint != ["python", "-m", "awslambdaric"]:
        msg = f"Runtime.InvalidEntrypoint: {entrypoint} does not start a runtime client"
        raise ImageError(msg)
    (handler,) = config.cmd or image.cmd
    with tempfile.TemporaryDirectory(dir=bed.settings.path("functions")) as folder:
        own = {
            **key_of(function.role),
            **function.environment_vars,
            "_HANDLER": handler,
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "LOOPBACK_TIMEOUT_S": str(function.timeout),
            "TMPDIR": "/tmp",  # noqa: S108 -- the function's own
        }
        answer = Path(folder, "answer.json")
        child = bed.start(
            [bed.settings.python, str(PROCESS), str(answer)],
            stdin=subprocess.PIPE,
            env=bed.environment(image, {"/tmp": Path(folder)}, own),  # noqa: S108 -- as above
            cwd=image.inside(image.workdir),
        )
        try:
            log, _ = child.communicate((event or "{}").encode(), timeout=float(function.timeout))
        except subprocess.TimeoutExpired:
            kill_group(child)
            log, _ = child.communicate()
            return _failed("Sandbox.Timedout", f"Task timed out after {function.timeout} s"), log
        if not answer.is_file():
            text = f"Runtime exited with error: exit status {child.returncode}"
            return _failed("Runtime.ExitError", text), log
        return json.loads(answer.read_text()), log


def _failed(kind: str, message: str) -> Answer:
    return {"error": {"errorType": kind, "errorMessage": message}}
