"""Undoes HTTP's chunked transfer coding a block at a time, with no socket in sight.

http.client reads a line and a body for every single chunk, and a model's server sends a chunk for every token; undoing
all chunks that one read of the socket has brought costs a tenth of that.

Reference: RFC 9112, section 7.1.
"""

from __future__ import annotations

import re

__all__ = ["ChunkReader"]

_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?", re.DOTALL)
_LONGEST_LINE = 16 * 1024  # of a size with its extensions, or of a trailer
_MOST_TRAILERS = 100
_MOST_SIZES = 4096
_sizes: dict[bytes, int] = {}  # sizes as servers have written them; a model's tokens make some hundred different ones


class ChunkReader:
    """Takes the bytes of a chunked body in pieces, cut anywhere, and gives its content.

        >>> reader = ChunkReader()
        >>> reader.feed(b"5\\r\\nhello\\r\\n0\\r\\n"), reader.feed(b"\\r\\nX"), reader.done, reader.rest
        (b'hello', b'', True, b'X')

    Attributes:
        done: The last chunk and the trailers have come.
        rest: Bytes that came after the end: not part of this body.
    """

    __slots__ = ("_left", "_line", "_trailers", "done", "rest")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self._left = 0  # bytes of the current chunk still to come, its line end included
        self._line = b""  # the beginning of a line that is not complete
        self._trailers: int | None = None  # how many there were; None before the last chunk

    def feed(self, data: bytes) -> bytes:
        """Return the content in *data*.

        Raises:
            ValueError: This is no chunked coding.
        """
        pieces: list[bytes] = []
        position, end, left = 0, len(data), self._left
        sizes, find, in_chunks = _sizes, data.find, self._trailers is None
        while position < end:
            if in_chunks and not left and not self._line:
                # Most chunks are here as a whole, with a size that came before: no need to look at it closely.
                stop = find(b"\r\n", position)
                size = sizes.get(data[position:stop]) if stop > 0 else None
                if size is not None:
                    start = stop + 2
                    after = start + size
                    if data[after : after + 2] == b"\r\n":
                        pieces.append(data[start:after])
                        position = after + 2
                        continue
            if left > 2:
                take = min(left - 2, end - position)
                pieces.append(data[position : position + take])
                position += take
                left -= take
            elif left:  # the line end behind a chunk's content
                if data[position : position + 1] != (b"\r" if left == 2 else b"\n"):
                    raise ValueError("a chunk is longer than it said")
                position += 1
                left -= 1
            else:
                stop = data.find(b"\n", position)
                if stop < 0:
                    self._line += data[position:]
                    if len(self._line) > _LONGEST_LINE:
                        raise ValueError("a line between chunks does not end")
                    break
                line = self._line + data[position:stop]
                self._line = b""
                position = stop + 1
                if in_chunks:
                    left = self._size_in(line)
                    in_chunks = left > 0
                elif self._is_last(line):
                    self.done = True
                    self.rest = data[position:]
                    break
        self._left = left
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _size_in(self, line: bytes) -> int:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise ValueError("a chunk does not say how long it is")
        size = int(found[1], 16)
        if size:
            if len(_sizes) < _MOST_SIZES and len(line) < 6:
                _sizes[line.removesuffix(b"\r")] = size
            return size + 2
        self._trailers = 0
        return 0

    def _is_last(self, line: bytes) -> bool:
        if not line.strip():
            return True
        self._trailers = (self._trailers or 0) + 1
        if self._trailers > _MOST_TRAILERS or len(line) > _LONGEST_LINE:
            raise ValueError("the trailers do not end")
        return False
