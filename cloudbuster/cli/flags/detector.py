"""Options about clouds: which detector finds them, and how."""

from dataclasses import dataclass

import click

from cloudbuster.cli.flags.kinds import (
    ClassesOption,
    CloudOption,
    DetectorOption,
    ExpertDetectorOption,
    as_one,
    given,
)


@dataclass(frozen=True)
class DetectorFlags:
    """What was given about clouds: fields of `DetectorOptions`, and which detector to use."""

    detector: str | None
    s2cloudless: bool | None
    architecture: str | None
    weights: str | None
    trust_architecture: bool | None
    cloud_classes: tuple[int, ...]
    donor_mask: str | None
    donor_mask_name: str | None
    also_stock: bool | None
    preset: str | None
    mask_gsd_m: float | None
    threshold: float | None
    average_over: int | None
    dilation_size: int | None

    def fields(self) -> dict[str, object]:
        """Fields that were given, and the type of the detector that they name, if any.

        Raises
        ------
        click.UsageError
            If they name several.
        """
        fields = given(vars(self))
        fields.pop("s2cloudless", None)
        chosen = fields.pop("detector", None)
        if chosen is not None:
            if self.s2cloudless is not None:
                msg = "--detector and --s2cloudless: give one of them"
                raise click.UsageError(msg)
            return fields | {"type": chosen}
        named = {
            "s2cloudless": bool(self.s2cloudless),
            "pytorch": bool(self.architecture or self.weights),
            "donor": bool(self.donor_mask),
        }
        types = [name for name, is_named in named.items() if is_named]
        if len(types) > 1:
            msg = f"{' and '.join(types)}: give the options of one detector"
            raise click.UsageError(msg)
        if not types and self.s2cloudless is False:
            types = ["stock"]
        return fields | ({"type": types[0]} if types else {})


detector_options = as_one(
    DetectorFlags,
    "detector_flags",
    [
        click.option(
            "--detector",
            metavar="NAME",
            cls=CloudOption,
            help="How clouds are found: auto, stock (the product's own mask), csmask, s2cloudless, "
            "omnicloudmask, pytorch, donor, or one of another package; A+B masks what any of them "
            "masks, A&B what all of them mask.  [default: auto]",
        ),
        click.option(
            "--s2cloudless/--no-s2cloudless",
            default=None,
            cls=CloudOption,
            help="Find clouds with s2cloudless; negated, by the product's own mask.  [default: "
            "the product's own mask for L2A, s2cloudless for L1C]",
        ),
        click.option(
            "--weights",
            cls=DetectorOption,
            help="Find clouds with a PyTorch model: state dict, TorchScript or exported model.",
        ),
        click.option(
            "--architecture",
            cls=DetectorOption,
            help="Python file with make_model, for a state dict.",
        ),
        click.option(
            "--trust-architecture/--no-trust-architecture",
            default=None,
            cls=DetectorOption,
            help="Let code run: that of the architecture, or of a TorchScript or exported model.",
        ),
        click.option(
            "--cloud-classes",
            type=int,
            multiple=True,
            metavar="CLASS...",
            cls=ClassesOption,
            help="Classes of a model of several classes that are cloud, from 0, as 1,2.",
        ),
        click.option(
            "--donor-mask",
            cls=DetectorOption,
            help="Take the mask that another run kept: its file, or the folder that holds it.",
        ),
        click.option(
            "--donor-mask-name", cls=DetectorOption, help="Name of the mask in --donor-mask."
        ),
        click.option(
            "--also-stock/--no-also-stock",
            default=None,
            cls=DetectorOption,
            help="Add the product's own mask to the detector's.",
        ),
        click.option(
            "--preset",
            type=click.Choice(["standard", "strict", "original"]),
            cls=DetectorOption,
            help="Which classes of the product's own mask count as cloud.",
        ),
        click.option(
            "--mask-gsd",
            "mask_gsd_m",
            type=float,
            cls=ExpertDetectorOption,
            help="Cell size of the mask, metres.  [default: the detector's own]",
        ),
        click.option(
            "--threshold",
            type=float,
            cls=ExpertDetectorOption,
            help="s2cloudless: probability above which a cell is cloud.",
        ),
        click.option(
            "--average-over",
            type=int,
            cls=ExpertDetectorOption,
            help="s2cloudless: radius of the averaging disk, cells of the mask.",
        ),
        click.option(
            "--dilation-size",
            type=int,
            cls=ExpertDetectorOption,
            help="s2cloudless: radius of its own dilation disk, cells of the mask.",
        ),
    ],
)
