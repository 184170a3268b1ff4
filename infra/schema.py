"""The JSON Schema of a configuration file, which ``cloudbuster schema StackConfig`` prints."""

from typing import Any

from cloudbuster.aws.published import SCHEMA_KEY
from infra.configuration.config import StackConfig


def config_schema() -> dict[str, Any]:
    """Make the schema; a file may also name its schema, and give a part of a job."""
    schema = StackConfig.model_json_schema()
    names = {"description": "Path or URL of this schema, for editors.", "type": "string"}
    schema["properties"] = {SCHEMA_KEY: names, **schema["properties"]}
    # What a file leaves out of a job is taken from the defaults.
    del schema["$defs"]["Job"]["required"]
    return schema
