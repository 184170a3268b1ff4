"""Log groups, and their retention as a value of the CDK."""

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from constructs import Construct

_DAYS = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    5: logs.RetentionDays.FIVE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    60: logs.RetentionDays.TWO_MONTHS,
    90: logs.RetentionDays.THREE_MONTHS,
    120: logs.RetentionDays.FOUR_MONTHS,
    150: logs.RetentionDays.FIVE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    400: logs.RetentionDays.THIRTEEN_MONTHS,
    545: logs.RetentionDays.EIGHTEEN_MONTHS,
    731: logs.RetentionDays.TWO_YEARS,
}


def log_group(scope: Construct, *, days: int, name: str | None = None) -> logs.ILogGroup:
    """Make the log group ``Logs`` of a construct.

    Parameters
    ----------
    scope : Construct
        Construct that logs to the group.
    days : int
        Retention, one of the values that the configuration allows.
    name : str, optional
        Name of the group; CloudFormation chooses one by default.
    """
    return logs.LogGroup(
        scope,
        "Logs",
        log_group_name=name,
        retention=_DAYS[days],
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
