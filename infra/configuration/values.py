"""Kinds of values in the configuration, refused early if AWS would refuse them at deployment."""

import re
from typing import Annotated

from pydantic import AfterValidator

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"^(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]$")
# A whole bucket, or a folder of one; without s3:// in the bucket of the stack.
_MODEL_PREFIX = re.compile(
    r"(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/)?([\w.-]+/)+|s3://[a-z0-9.-]+/"
)
_IP_ADDRESS = re.compile(r"^(\d{1,3}\.){3}\d{1,3}$")
# https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html: 128 and
# 256 characters, and 50 tags, a few of which the CDK, Batch and a run set themselves.
MAX_TAGS = 45
MAX_TAG_KEY, MAX_TAG_VALUE = 128, 256
_TAG = re.compile(r"^[\w\s.:/=+@-]*$")


def _matching(pattern: str, what: str) -> AfterValidator:
    """Make a validator for text that must match a pattern as a whole; ``what`` names it."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            msg = f"{text!r} is no {what}"
            raise ValueError(msg)
        return text

    return AfterValidator(check)


def _bucket_name(name: str) -> str:
    if not _BUCKET.match(name) or _IP_ADDRESS.match(name):
        msg = (
            f"{name!r} is no name of a bucket: give 3 to 63 of a-z, 0-9, '.' and '-', without s3://"
        )
        raise ValueError(msg)
    return name


def _tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > MAX_TAGS:
        msg = f"{len(tags)} tags: at most {MAX_TAGS} leave room for those of AWS and of a run"
        raise ValueError(msg)
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            msg = f"key {key!r}: keys that begin with aws: are AWS's own, choose another"
            raise ValueError(msg)
        _check_tag_text(f"key {key[:MAX_TAG_KEY]!r}", key, least=1, most=MAX_TAG_KEY)
        _check_tag_text(f"value of {key!r}", value, least=0, most=MAX_TAG_VALUE)
    return tags


def _check_tag_text(what: str, text: str, *, least: int, most: int) -> None:
    if not least <= len(text) <= most:
        msg = f"{what} has {len(text)} characters: AWS takes {least} to {most}"
        raise ValueError(msg)
    if not _TAG.match(text):
        msg = f"{what}: AWS takes letters, digits, spaces and _ . : / = + - @"
        raise ValueError(msg)


def _model_prefix(prefix: str) -> str:
    if not _MODEL_PREFIX.fullmatch(prefix) or ".." in prefix.split("/"):
        msg = (
            f"{prefix!r} is no prefix of models: give one that ends with a slash, as models/ in "
            "the bucket of the stack, or s3://BUCKET/PREFIX/"
        )
        raise ValueError(msg)
    return prefix


def check_image_region(uri: str, region: str) -> None:
    """Raise ValueError for an image in another region than the stack."""
    found = uri.split(".")[3]
    if found != region:
        msg = (
            f"image {uri} lies in {found}, the stack in {region}: functions run images of their "
            "own region, push it there"
        )
        raise ValueError(msg)


ModelPrefix = Annotated[str, AfterValidator(_model_prefix)]
BucketName = Annotated[str, AfterValidator(_bucket_name)]
Region = Annotated[
    str, _matching(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}", "region of AWS; give one as us-west-2")
]
KeyArn = Annotated[
    str,
    _matching(
        r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+",
        "ARN of a key; an alias is none, take Arn of `aws kms describe-key --key-id alias/NAME`",
    ),
]
PolicyArn = Annotated[
    str,
    _matching(
        r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[\w+=,.@/-]+",
        "ARN of a policy; give one as arn:aws:iam::123456789012:policy/Boundary",
    ),
]
Qualifier = Annotated[
    str, _matching(r"[A-Za-z0-9_-]{1,10}", "qualifier; give 1 to 10 of A-Z, a-z, 0-9, '_' and '-'")
]
AllowedHost = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9.-]{1,100}(:\d{1,5})?|\[?[0-9A-Fa-f:.]{2,45}\]?(:\d{1,5})?|[0-9A-Fa-f:.]{2,45}/\d{1,3}",
        "host or network; give a name, an address, or a network as 10.0.0.0/8",
    ),
]
EmailAddress = Annotated[str, _matching(r"[^@\s]+@[^@\s]+", "address; give one as ops@example.org")]
Tags = Annotated[dict[str, str], AfterValidator(_tags)]
