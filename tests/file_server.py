"""Files of a folder on the loopback, in ranges, as object stores serve them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.loopback import LoopbackHandler, serving_http


class FileHandler(LoopbackHandler):
    """Files of ``folder``; a query in the address changes nothing."""

    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self.send(404, b"")
            return
        content = path.read_bytes()
        wanted = self.headers.get("Range")
        if wanted is None:
            self.send(200, content)
            return
        first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
        last = min(last, len(content) - 1)
        place = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self.send(206, content[first : last + 1], place)


@contextmanager
def serving_files(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder while the body runs; yield ``host:port`` and the paths asked for so far."""
    asked: list[str] = []
    handler = type("Handler", (FileHandler,), {"folder": folder, "asked": asked})
    with serving_http(handler) as address:
        yield address, asked
