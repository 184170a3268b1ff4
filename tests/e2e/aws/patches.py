"""How a repair takes the place of what moto has."""

from collections.abc import Callable
from typing import Any


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


def every(name: str, owner: type) -> None:
    """Let a resource of CloudFormation answer ``Fn::GetAtt`` of its ARN under ``name``."""
    owner.has_cfn_attr = classmethod(lambda _class, attribute: attribute == name)  # type: ignore[attr-defined]
    owner.get_cfn_attribute = lambda self, _attribute: self.arn  # type: ignore[attr-defined]
