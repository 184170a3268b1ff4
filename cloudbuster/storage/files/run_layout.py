"""Where a run keeps its files, in a folder or in a bucket, and the identity of its request."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cloudbuster.models import MosaicRequest
from cloudbuster.storage.files.uri import join

# A run's id names its execution and its jobs. Step Functions allows 80 characters and Batch 128,
# both of letters, digits, - and _: 48 for the mosaic's name, a dash, 16 for the hash, and room for
# -a99 or -f and 8 for an event.
SLUG_LENGTH = 48
HASH_LENGTH = 16


@dataclass(frozen=True)
class RunLayout:
    """Where a run keeps its files.

    Attributes
    ----------
    id : str
        ``<slug of the name>-<hash of the canonical request>``.
    documents, scenes, tasks, products : str
        Folders or prefixes without a final slash.
    """

    id: str
    documents: str
    scenes: str
    tasks: str
    products: str

    @classmethod
    def in_folder(cls, request: MosaicRequest, folder: str) -> "RunLayout":
        """Make the layout of a run on this machine: documents and products in one folder."""
        return cls(
            id=run_id(request),
            documents=folder,
            scenes=join(folder, "scenes"),
            tasks=join(folder, "tasks"),
            products=folder,
        )

    @classmethod
    def in_bucket(cls, request: MosaicRequest, root: str, *, execution: str = "") -> "RunLayout":
        """Make the layout of a run on the stack.

        Parameters
        ----------
        request : MosaicRequest
            The products go to its ``output``, or else below ``mosaics/`` in the bucket.
        root : str
            URI of the stack's bucket.
        execution : str
            Name of the execution. With ``force`` or ``refresh`` the scenes belong to this execution
            alone: the
            catalog's answer may differ from the one before, and scenes of an earlier selection
            must not be merged.
        """
        run = run_id(request)
        scratch = f"{run}-{short_hash([execution])}" if request.starts_anew else run
        return cls(
            id=run,
            documents=join(root, "runs", run),
            scenes=join(root, "scratch", scratch, "scenes"),
            tasks=join(root, "scratch", scratch, "tasks"),
            products=(request.output or join(root, "mosaics", run)).rstrip("/"),
        )

    def document(self, name: str) -> str:
        """URI of one of the run's documents."""
        return join(self.documents, name)


def request_fingerprint(request: MosaicRequest) -> str:
    """Identity of the mosaic that is asked for: the request without where and how to run.

    Whether a model is trusted decides whether there is a mosaic, and not which.
    """
    detector = request.gather.detector.model_copy(update={"trust_architecture": False})
    gather = request.gather.model_copy(update={"detector": detector})
    changes = {"output": None, "force": False, "refresh": False, "gather": gather}
    return request.model_copy(update=changes).fingerprint()


def run_id(request: MosaicRequest) -> str:
    """Identity of a run: the request without how to run; another ``output`` is another run."""
    parts = [request_fingerprint(request), request.output or ""]
    canonical = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{slug(request.name)}-{canonical[:HASH_LENGTH]}"


def slug(text: str) -> str:
    """Letters, digits, ``-`` and ``_`` of ``text``, at most `SLUG_LENGTH`; ``mosaic`` if none."""
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")
    return kept[:SLUG_LENGTH].rstrip("-_") or "mosaic"


def short_hash(parts: Sequence[str]) -> str:
    """Eight hexadecimal characters that identify ``parts``."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
