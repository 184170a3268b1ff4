"""How a repair takes the place of what moto has."""

from collections.abc import Callable
from typing import Any


def replace(owner: Any, **values: object) -> None:
    """Put values in the place of those that a class or a module has under these names."""
    for name, value in values.items():
        setattr(owner, name, value)


def wrap_classmethod(owner: type, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function in the place of a class method; it is given the original one first."""
    original = getattr(owner, name)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(_class: type, *args: Any, **kwargs: Any) -> Any:
            return function(original, *args, **kwargs)

        setattr(owner, name, classmethod(replacement))
        return function

    return decorate


def wrap(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function in the place of a method or function; it is given the original one first."""
    original = getattr(owner, name)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return function(original, *args, **kwargs)

        setattr(owner, name, replacement)
        return function

    return decorate


def tell_arn(owner: type, attribute: str) -> None:
    """Let a resource of CloudFormation answer ``Fn::GetAtt`` of its ARN."""
    replace(
        owner,
        has_cfn_attr=classmethod(lambda _class, asked: asked == attribute),
        get_cfn_attribute=lambda resource, _asked: resource.arn,
    )
