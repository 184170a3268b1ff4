"""``status.json`` of a run on one machine: its stage while it runs, and how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloudbuster.errors import CloudBusterError, ExitCode
from cloudbuster.models import MergeResult, MosaicRequest, RunStatus
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import RunLayout, request_fingerprint
from cloudbuster.storage.files.uri import is_remote, local_path


def layout_of_earlier(request: MosaicRequest) -> RunLayout | None:
    """Find the folder in which the same request ran before; None if it did not, or lies remote."""
    output = request.output or request.name
    if is_remote(output):
        return None
    layout = RunLayout.in_folder(request, str(local_path(output).absolute()))
    known = read_earlier(layout.document("request.json"), MosaicRequest)
    is_same = known is not None and request_fingerprint(known) == request_fingerprint(request)
    return layout if is_same else None


class StatusFile:
    """Writes the status of a run, and reads what an earlier run had merged.

    Parameters
    ----------
    layout : RunLayout
        Folders of the run.
    request : MosaicRequest
        Request of the run. With ``force`` the earlier status is ignored.
    """

    def __init__(self, layout: RunLayout, request: MosaicRequest) -> None:
        """Read the status of an earlier run; nothing is written yet."""
        self._uri = layout.document("status.json")
        self._products = Path(layout.products)
        self._earlier = read_earlier(self._uri, RunStatus)
        self._force = request.force
        self._now = RunStatus(
            name=request.name,
            state="running",
            stage="query",
            request_fingerprint=request_fingerprint(request),
        )

    def _write(self, **changes: object) -> None:
        """Write the status with some fields changed."""
        self._now = self._now.model_copy(update=changes)
        write_document(self._uri, self._now)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Write how the run ends if the body raises; the exception goes on."""
        try:
            yield
        except CloudBusterError as error:
            self._fail(int(error.exit_code), f"{type(error).__name__}: {error}")
            raise
        except KeyboardInterrupt:
            self._fail(int(ExitCode.INTERRUPTED), "stopped")
            raise
        except SystemExit as error:
            self._fail(error.code if isinstance(error.code, int) else int(ExitCode.BUG), "stopped")
            raise
        finally:
            if self._now.state == "running":
                self._fail(int(ExitCode.BUG), "a bug in this package: see the traceback")

    def _fail(self, exit_code: int, error: str) -> None:
        """Write that the run failed, unless that fails as well: the first error is reported."""
        with suppress(CloudBusterError):
            self._write(state="failed", exit_code=exit_code, error=error)

    def enter(self, stage: str) -> None:
        """Write that ``stage`` starts; the products of an earlier run stay in the status."""
        earlier = self._earlier
        self._write(
            stage=stage,
            merge_fingerprint=earlier.merge_fingerprint if earlier else None,
            products=earlier.products if earlier else None,
        )

    def forget_merge(self) -> None:
        """Remove the products of an earlier run from the status, before they are replaced."""
        self._write(merge_fingerprint=None, products=None)

    def finished_merge(self, fingerprint: str) -> MergeResult | None:
        """Return the products of an earlier merge.

        Parameters
        ----------
        fingerprint : str
            Fingerprint of what is to be merged now.

        Returns
        -------
        MergeResult or None
            None if something else was merged, or one of the products is missing.
        """
        earlier = self._earlier
        if self._force or earlier is None or earlier.products is None:
            return None
        if earlier.merge_fingerprint != fingerprint:
            return None
        files = earlier.products.model_dump(
            include={"cloudless", "cloudy", "quality", "item", "preview", "report"}
        )
        # The folder may have been moved since, so the products are looked up where it is now.
        moved = {key: str(self._products / Path(path).name) for key, path in files.items()}
        if not all(Path(path).is_file() for path in moved.values()):
            return None
        return earlier.products.model_copy(update=moved)

    def succeed(
        self, products: MergeResult, fingerprint: str, *, reasons: tuple[str, ...] | None
    ) -> None:
        """Write that the products are there.

        Parameters
        ----------
        products : MergeResult
            Products of the run.
        fingerprint : str
            Fingerprint of what they were merged from.
        reasons : tuple of str or None
            Why they do not cover the area as asked; None if they do.
        """
        self._write(
            state="succeeded",
            products=products,
            merge_fingerprint=fingerprint,
            exit_code=int(ExitCode.DONE if reasons is None else ExitCode.NOT_COVERED),
            error=None if reasons is None else "; ".join(reasons),
        )
