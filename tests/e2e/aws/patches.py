"""Ways to replace parts of moto."""

from collections.abc import Callable
from typing import Any


def replace(owner: Any, **values: object) -> None:
    """Replace attributes of a class or a module."""
    for name, value in values.items():
        setattr(owner, name, value)


def wrap_classmethod(owner: type, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace a class method; the new function gets the original one as its first argument."""
    original = getattr(owner, name)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(_class: type, *args: Any, **kwargs: Any) -> Any:
            return function(original, *args, **kwargs)

        setattr(owner, name, classmethod(replacement))
        return function

    return decorate


def wrap(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace a method or function; the new one gets the original as its first argument."""
    original = getattr(owner, name)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return function(original, *args, **kwargs)

        setattr(owner, name, replacement)
        return function

    return decorate


def return_arn(owner: type, attribute: str) -> None:
    """Let a resource of CloudFormation return its ARN for ``Fn::GetAtt``."""
    replace(
        owner,
        has_cfn_attr=classmethod(lambda _class, asked: asked == attribute),
        get_cfn_attribute=lambda resource, _asked: resource.arn,
    )
